"""The real agent, as the control plane serves it, run as a process in a simulated machine's network.

What it must not find out or do on the host that runs the tests is played by programs that come first in its PATH: its
disks are those of `disks`, and switching off is only written down.  Its kernel command line is bound over the host's.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.namespace import exec_prefix
from lab.simulated import SimulatedMachine
from lab.standing import Lab

BEGIN = 'mount --bind "$1" /proc/cmdline && exec "$2" -I "$3"'


def disk(path: str, size_bytes: int, serial: str) -> dict[str, Any]:
    """One disk as lsblk tells of it, under a name that no disk of the host has."""
    return {
        "name": "simulated0", "path": path, "type": "disk", "size": size_bytes, "model": None, "serial": serial,
        "rota": False, "log-sec": 512, "ro": False, "mountpoints": [None],
    }  # fmt: skip


class AgentProcess:
    """One run; a context manager that boots the machine as far as its script when entered."""

    def __init__(self, lab: Lab, machine: SimulatedMachine, disks: Sequence[dict[str, Any]] = ()) -> None:
        self.lab, self.machine = lab, machine
        self.folder = Path(tempfile.mkdtemp(prefix="muster-agent-"))
        self._disks = {"blockdevices": list(disks)}
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Boot, and fetch the agent as the ephemeral system does."""
        self.machine.start()
        url, token = self.machine.url, self.machine.token
        status, archive = self.machine.request("GET", f"{url}/agent", token)
        assert status == 200, archive[:200]
        (self.folder / "agent.pyz").write_bytes(archive)
        (self.folder / "cmdline").write_text(f"quiet muster.url={url} muster.token={token}\n")
        (self.folder / "disks").write_text(json.dumps(self._disks))
        programs = self.folder / "bin"
        programs.mkdir()
        self._program("lsblk", f"cat {shlex.quote(str(self.folder / 'disks'))}")
        # Where the kernel's loop devices have no partitions of their own accord (max_part=0), partx(8) tells it of them.
        real = shlex.quote(str(shutil.which("blockdev")))
        self._program("blockdev", f'test "$1" = --rereadpt && exec partx --update "$2"; exec {real} "$@"')
        if "\tvfat\n" not in Path("/proc/filesystems").read_text():  # The image's kernel has it; this host's may not.
            mount = shlex.quote(str(shutil.which("mount")))
            self._program("mount", f'case "$2" in */boot/efi) exec {mount} -t tmpfs esp "$2";; esac; exec {mount} "$@"')
        self._program("systemctl", f'echo "$1" >> {shlex.quote(str(self.folder / "ordered"))}')
        return self

    def _program(self, name: str, line: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def start(self) -> None:
        """Run it."""
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", BEGIN, "sh"]
        words += [str(self.folder / "cmdline"), sys.executable, str(self.folder / "agent.pyz")]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*exec_prefix(self.machine.space), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"},
            )  # fmt: skip

    def wait(self, seconds: float) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def run(self, seconds: float = 120.0) -> int:
        """Run it to its end; the exit code."""
        self.start()
        return self.wait(seconds)

    def said(self) -> str:
        """What it wrote on the console."""
        return self._read("log")

    def ordered(self) -> list[str]:
        """What it asked of systemd."""
        return self._read("ordered").split()

    def _read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else self._kept.get(name, "")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; what it said and ordered is kept."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._kept = {name: self._read(name) for name in ("log", "ordered")}
        shutil.rmtree(self.folder)
