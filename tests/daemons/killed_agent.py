"""`muster-rack agent` to which a test does harm at a step of an apply, once, by a file that holds `<service> <step>`.

`<root>/kill-at`: the process is killed (SIGKILL).  `<root>/fill-at`: `<root>/filler` takes all that is free on the disk.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

from workers.rack.agent import Agent
from workers.rack.config import load_config
from workers.rack.single import only_agent

KILL, FILL, FILLER = "kill-at", "fill-at", "filler"


def fill(path: Path) -> None:
    """Write zeros until nothing more fits."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def main(root: Path) -> None:
    """Run the agent until stopped or killed."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: stop.set())

    def reached(service: str, step: str) -> None:
        for name in (KILL, FILL):
            path = root / name
            if path.exists() and path.read_text().split() == [service, step]:
                path.unlink()
                os.kill(os.getpid(), signal.SIGKILL) if name == KILL else fill(root / FILLER)

    with only_agent(root):
        Agent(load_config(root), reached=reached).run(stop)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
