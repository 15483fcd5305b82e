"""Naming, watching and ending processes that the lab started.

A process is named by its id *and* its start time (field 22 of /proc/PID/stat, see proc(5)), because ids are reused:
a state file left by a dead run may name an id that belongs to somebody else today. Such a process is never touched.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessName:
    """One process, for ever: its id and its start time in clock ticks since the host booted."""

    pid: int
    started: int

    def is_alive(self) -> bool:
        """Say whether exactly this process still runs (a zombie does not)."""
        return name_process(self.pid) == self


def name_process(pid: int) -> ProcessName | None:
    """Return the name of the running process with this id; None when there is none, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name may hold spaces and brackets, so count from the last bracket: field 3 comes first after it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else ProcessName(pid, int(fields[19]))


def end_processes(names: Iterable[ProcessName], patience: float = 5.0) -> list[ProcessName]:
    """Ask every named process to end, kill those that have not after `patience` seconds; return any that remain."""
    left = [name for name in names if name.is_alive() and name.pid != os.getpid()]
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        for name in left:
            _signal(name, number)
        deadline = time.monotonic() + seconds
        while (left := [name for name in left if name.is_alive()]) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not left:
            break
    return left


def _signal(name: ProcessName, number: signal.Signals) -> None:
    if name.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(name.pid, number)


def die_with_parent(argv: list[str], signal_name: str = "KILL") -> list[str]:
    """Return argv for a child that the kernel ends when the *thread* that started it ends (prctl(2) PR_SET_PDEATHSIG).

    Only for single-threaded parents; elsewhere use `lab.tether`.
    """
    return ["setpriv", "--pdeathsig", signal_name, "--", *argv]
