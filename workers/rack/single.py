"""One agent for one rack: a lock in the rack's state directory that the kernel drops when the process ends, however it ends.

Two agents would take turns at the same daemons, each undoing what it believes the other left half done.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_NAME = "agent.lock"


class AlreadyRunning(Exception):
    """Another agent works for this rack; the text says which process and what to do."""


@contextmanager
def only_agent(root: Path) -> Iterator[None]:
    """Hold the rack (flock(2)).  AlreadyRunning if another process does."""
    path = root / "run" / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(32).strip()
            process = f"process {holder}" if holder.isdigit() else "another process"
            raise AlreadyRunning(
                f"a rack worker runs in {root} already ({process}, it holds {path}): one rack has one; stop that one first,"
                " or give this one a root of its own"
            ) from None
        # Who holds it is for people only: a full disk must not keep the rack from its work.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield
