"""The region worker's own timer, for when the broker brings nothing.

Celery's timer sends its messages through the broker like everybody else, so a broker that is away or loses messages
would stop the region worker altogether, although all it needs is the database.  A thread therefore notes when each
periodic task last ran in this process, and runs one itself that is overdue.  While the broker works it does nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

PATIENCE = 4
"""A task is overdue after so many of its intervals; of several workers each gets a part of the messages only."""
LOOK_SECONDS = 1.0
log = structlog.get_logger(__name__)


class Watch(threading.Thread):
    """Runs what is overdue. tasks: name to function; seconds: name to interval."""

    def __init__(
        self,
        tasks: Mapping[str, Callable[[], None]],
        seconds: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="muster-watch", daemon=True)
        self._tasks, self._seconds, self._clock = tasks, seconds, clock
        self._ran = dict.fromkeys(tasks, clock())
        self._overdue: set[str] = set()

    def ran(self, name: str) -> None:
        """A message has made the task run."""
        self._ran[name] = self._clock()
        if name in self._overdue:
            self._overdue.discard(name)
            log.info("watch.broker_back", task=name)

    def run(self) -> None:
        """For ever."""
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> list[str]:
        """Run what is overdue; the names. A task that fails is due again after its interval."""
        run = []
        for name, task in self._tasks.items():
            patience = self._seconds[name] * (1 if name in self._overdue else PATIENCE)
            if self._clock() - self._ran[name] < patience:
                continue
            if name not in self._overdue:
                log.info("watch.no_message", task=name, seconds=patience, remedy="look at the broker")
                self._overdue.add(name)
            self._ran[name] = self._clock()
            run.append(name)
            try:
                task()
            except Exception:
                log.exception("watch.failed", task=name)
        return run
