"""Several machines walked side by side, each in a thread, where memory allows; else one after the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from lab.terminal import Ended, Terminal
from lab.walk import Walk

QEMU_MIB = 640
"""What QEMU needs beside the guest's memory under emulation: its translation cache and itself, measured."""
REST_MIB = 1536
"""What the control plane, the rack's daemons and the page cache want."""
PATIENCE_SECONDS = 2.0
"""How long a walk may take to notice that the lab ends; what it has running is ended with the site."""
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


class WalkFailed(Exception):
    """At least one machine did not walk all the way; says which and why."""


def available_mib(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Return the memory that may still be used, in MiB: the host's, or what the control group leaves of it."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) >> 10
    try:
        limit, used = (cgroup / "memory.max").read_text().strip(), (cgroup / "memory.current").read_text()
    except OSError:
        return free
    return free if limit == "max" else min(free, (int(limit) - int(used)) >> 20)


def needed_mib(walks: Sequence[Walk]) -> int:
    """Return what running all these machines at once takes, in MiB."""
    return REST_MIB + sum(walk.machine.hardware.memory_mib + QEMU_MIB for walk in walks)


def walk_all(walks: Sequence[Walk], terminal: Terminal, side_by_side: bool) -> None:
    """Walk every machine to its end; one that fails does not stop the others. WalkFailed names those that failed."""
    failures: dict[str, Exception] = {}
    threads: list[threading.Thread] = []

    def go(walk: Walk) -> None:
        try:
            walk.whole()
        except Ended:
            pass
        except Exception as error:  # Told below, once all have ended.
            failures[walk.machine.name] = error

    try:
        if side_by_side:
            threads += [threading.Thread(target=go, args=(walk,), daemon=True) for walk in walks]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            for walk in walks:
                go(walk)
    except BaseException:
        terminal.end()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        raise
    if failures:
        raise WalkFailed("; ".join(f"{name}: {error}" for name, error in failures.items()))
