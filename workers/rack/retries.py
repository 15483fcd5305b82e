"""Records that failed, and when each is tried again: what stood against one may go away without a word about it.

They are tried with growing pauses for longer than a usual lease lives (600 s), and soon when another record of their
scope has changed, as that may have been in their way.  The rack's store keeps them, and a
rack that starts anew begins to try again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from workers.rack.record_store import RecordChange

FIRST_SECONDS, LONGEST_SECONDS = 10.0, 240.0
"""Pause before the first try, doubled for each further one; the longest pause."""
GIVEN_UP_SECONDS = 900.0
"""After the failure; then only the next change of the key brings it back."""
MOST = 1000
"""Records that are remembered; beyond that the oldest failures are given up first."""


@dataclass
class _Failed:
    change: RecordChange
    due: float
    until: float
    pause: float = FIRST_SECONDS


class Retries:
    """The failed records of one rack.  `mended`: those that have come right and of which nobody was told yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: dict[tuple[str, str], _Failed] = {}
        self.mended: list[dict[str, Any]] = []

    def note(self, batch: Iterable[RecordChange], failed: Collection[tuple[str, str]]) -> None:
        """A batch was applied: its words replace older ones of its keys, and what is live may make room for others."""
        changes = list(batch)
        live = {change.scope for change in changes if (change.scope, change.key) not in failed}
        now = self._clock()
        for change in changes:
            key = change.scope, change.key
            known = self._failed.pop(key, None)
            if key in failed:
                self._failed[key] = _Failed(change, now + FIRST_SECONDS, now + GIVEN_UP_SECONDS)
            elif known is not None and known.change.sequence == change.sequence:
                self._mend(change)
        for known in self._failed.values():
            if known.change.scope in live:
                known.due = min(known.due, now + FIRST_SECONDS)
        for key in list(self._failed)[:-MOST]:
            del self._failed[key]

    def due(self) -> list[RecordChange]:
        """Those whose time has come."""
        now = self._clock()
        return [known.change for known in self._failed.values() if known.due <= now]

    def tried(self, changes: Iterable[RecordChange], failed: Collection[tuple[str, str]]) -> None:
        """What came of trying again."""
        now = self._clock()
        for change in changes:
            known = self._failed[change.scope, change.key]
            known.pause = min(known.pause * 2, LONGEST_SECONDS)
            known.due = now + known.pause
            if (change.scope, change.key) not in failed:
                self._mend(change)
            elif known.due <= known.until:
                continue
            del self._failed[change.scope, change.key]

    def _mend(self, change: RecordChange) -> None:
        self.mended.append({"sequence": change.sequence, "scope": change.scope, "key": change.key})
