"""`muster-rack agent` that a test can kill (SIGKILL) at a step: `<root>/kill-at` holds `<service> <step>`, once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from workers.rack.agent import Agent
from workers.rack.config import load_config
from workers.rack.single import only_agent

FILE = "kill-at"


def main(root: Path) -> None:
    """Run the agent until stopped or killed."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: stop.set())

    def reached(service: str, step: str) -> None:
        path = root / FILE
        if path.exists() and path.read_text().split() == [service, step]:
            path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    with only_agent(root):
        Agent(load_config(root), reached=reached).run(stop)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
