"""The region worker with something wrong with it: a process as `python -m workers.region` is, over another context.

--deaths FILE  one worker after the other, each killed in the middle of its second change of an operation, just before
               it is kept; how each ended is a line of the file.  They are forks, so that a life begins at once
--lose-rings   every ring that it sends is lost
"""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, event

from app import wiring
from app.config import Config
from app.services.context import Context
from workers.region.__main__ import main

CHANGED = "operation_changed"


class NoRing:
    """A bell that nobody hears."""

    def advance(self, machine_id: int) -> None:
        """Nobody looks at the machine."""

    def reconcile(self, rack_id: int) -> None:
        """Nobody compares the rack."""

    def job(self, job_id: int) -> None:
        """Nobody begins the job."""

    def rack(self, rack_name: str) -> None:
        """The rack hears nothing."""

    def broker_users(self) -> None:
        """Nobody looks after them."""


def die_at_second_change(context: Context) -> None:
    """Have this process killed when it is about to commit its second change of an operation."""
    commits: list[int] = []

    def note(connection: Connection, cursor: object, statement: str, *words: object) -> None:
        if statement.startswith("UPDATE operation"):
            connection.info[CHANGED] = True

    def kept(connection: Connection) -> None:
        if connection.info.pop(CHANGED, False):
            commits.append(1)
            if len(commits) == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    event.listen(context.store.engine, "before_cursor_execute", note)
    event.listen(context.store.engine, "commit", kept)


def live_again(deaths: Path) -> None:
    """Return in a new child for every child that has died; never in the parent."""
    while True:
        child = os.fork()
        if child == 0:
            return
        _, status = os.waitpid(child, 0)
        with deaths.open("a", encoding="utf-8") as file:
            file.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--deaths", type=Path)
    parser.add_argument("--lose-rings", action="store_true")
    chosen = parser.parse_args()
    if chosen.deaths:
        live_again(chosen.deaths)

    def wire(config: Config) -> Context:
        context = wiring.wire(config)
        if chosen.deaths:
            die_at_second_change(context)
        return replace(context, ring=NoRing()) if chosen.lose_rings else context

    main([], wire)
