"""The control plane as the lab runs it: `muster run` in a process of its own, listening where it is told.

The rack reaches it at an address inside a namespace: the socket is made there and handed over as an open descriptor.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

PASSWORD_LINE = re.compile(r"password[^:]*:\s*(\S+)", re.IGNORECASE)
START_SECONDS = 120.0
STOP_SECONDS = 20.0


class ControlPlaneFailed(Exception):
    """`muster run` did not come up; the end of its log says why."""


def listen(address: str, port: int) -> socket.socket:
    """A listening socket on this host. ControlPlaneFailed names who is in the way when the port is taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    link = socket.socket(family, socket.SOCK_STREAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        link.bind((address, port))
        link.listen(128)
    except OSError as error:
        link.close()
        raise ControlPlaneFailed(
            f"port {port} of {address} cannot be used ({error.strerror}); stop what listens there (ss -ltnp) or choose "
            "another with MUSTER_PORT"
        ) from error
    return link


class ControlPlane:
    """A running control plane; a context manager. sockets: already listening; environment: settings of its own."""

    def __init__(
        self, state: Path, sockets: list[socket.socket], url: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.state = state
        self.sockets = sockets
        self.url = url
        self.environment = dict(environment or {})
        self.log = state / "muster-run.log"
        self.password: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def pid(self) -> int:
        """Process id of `muster run`."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start `muster run`; its generated admin password is read from what it prints the first time."""
        argv = [sys.executable, "-m", "app.cli", "run", "--state-dir", str(self.state)]
        for link in self.sockets:
            argv += ["--listen-fd", str(link.fileno())]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **self.environment}
        with self.log.open("ab") as log:
            os.fchmod(log.fileno(), 0o600)
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
                pass_fds=[link.fileno() for link in self.sockets], cwd=Path(__file__).resolve().parent.parent,
            )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise ControlPlaneFailed(f"muster run ended with exit code {self._process.returncode}:\n{self._tail()}")
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.url}/api/v1/health/ready", timeout=2).status_code == 200:
                    found = PASSWORD_LINE.search(self.log.read_text())
                    self.password = found.group(1) if found else self.password
                    return
            time.sleep(0.2)
        raise ControlPlaneFailed(
            f"muster run did not answer at {self.url} within {START_SECONDS:.0f} s:\n{self._tail()}"
        )

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """Stop it and its children."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and close the sockets."""
        self.stop()
        for link in self.sockets:
            link.close()
