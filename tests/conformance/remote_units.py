"""The units of a container's systemd, asked by `SystemdUnits` inside it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.container import ENVIRONMENT, Container
from workers.rack.units import Unit, UnitError

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = "/var/lib/muster-rack"


class RemoteUnits:
    """Keeps the promises of `workers.rack.units.Units` as far as what it speaks with does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Speak with a process that runs `units_server`."""
        self._process = process

    def install(self, unit: Unit) -> bool:
        """See Units."""
        return bool(self._call("install", unit.name, unit.command, unit.environment))

    def remove(self, name: str) -> None:
        """See Units."""
        self._call("remove", name)

    def is_known(self, name: str) -> bool:
        """See Units."""
        return bool(self._call("is_known", name))

    def start(self, name: str) -> None:
        """See Units."""
        self._call("start", name)

    def stop(self, name: str) -> None:
        """See Units."""
        self._call("stop", name)

    def restart(self, name: str) -> None:
        """See Units."""
        self._call("restart", name)

    def is_running(self, name: str) -> bool:
        """See Units."""
        return bool(self._call("is_running", name))

    def signal(self, name: str, signal_name: str) -> None:
        """See Units."""
        self._call("signal", name, signal_name)

    def pid(self, name: str) -> int | None:
        """See Units; its number in the container."""
        found = self._call("pid", name)
        return None if found is None else int(found)

    def mark(self, name: str) -> str:
        """See Units."""
        return str(self._call("mark", name))

    def said(self, name: str, mark: str) -> tuple[str, str]:
        """See Units."""
        text, where = self._call("said", name, mark)
        return str(text), str(where)

    def _call(self, method: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"method": method, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise UnitError(answer["error"])
        return answer["result"]


@contextmanager
def units_of(host: Container) -> Iterator[RemoteUnits]:
    """The units of a container that was made with `binds=[REPOSITORY]`, until it is rebooted."""
    argv = [*host.enter(), "/usr/bin/python3", "-m", "tests.conformance.units_server", ROOT]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield RemoteUnits(process)
    finally:
        try:
            process.communicate(timeout=10)  # It ends when the pipe does.
        finally:
            process.kill()
            process.wait()
