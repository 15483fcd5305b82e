"""The end of the event table, followed so that nothing is skipped however transactions overlap.

PostgreSQL gives an event its id before its transaction commits, so event 8 may be seen while 7 is still to come, and
a 7 that was rolled back never comes.  A reader that goes on after the largest id it saw would lose the late one.
`Tail` hands out ids in growing order and stops before a gap.  The gap is passed once the transactions that were
writing events when it was seen have all ended (`app.store.locks.writers`): what they committed is visible then, and what
is still missing never comes.  Writers pay nothing for it.  On SQLite there are no gaps to wait for.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services.context import Context
from app.store.locks import writers
from app.store.models import Event

BATCH = 500
LOOK_BACK = 1000
"""How far below the newest event a start looks for gaps while somebody is writing."""


class Tail:
    """One reader's place in the event table. Every event at or below `position` has been handed out, or never was."""

    def __init__(self, context: Context) -> None:
        """Start at the end: what is committed from now on will be handed out, perhaps after a few that just were."""
        self._context = context
        self._settled = 0
        """No event at or below this id will appear that is not visible yet."""
        self.known: frozenset[int] = frozenset()
        """Events above the position that were there at the start: no news to somebody who begins now."""
        self._witnesses: tuple[int, frozenset[str]] | None = None
        with context.store.read() as session:
            newest = session.scalar(select(func.max(Event.id))) or 0
        busy = self._writers()
        self.position = newest
        if busy:
            with context.store.read() as session:
                self.position = _before_first_gap(session, newest)
                seen = select(Event.id).where(Event.id > self.position, Event.id <= newest)
                self.known = frozenset(session.scalars(seen))
            self._witnesses = (newest, busy)
        else:
            self._settled = newest

    def advance(self, limit: int = BATCH) -> list[Event]:
        """The events that follow, oldest first; at most `limit`. Empty when there is none yet that is safe to hand out."""
        self._look_at_witnesses()
        found, complete = self._read(limit)
        if not complete and self._witnesses is None:
            # The last row's id was drawn after all smaller ones, so their writers are among those who write now.
            seen = found[-1].id
            busy = self._writers()
            if busy:
                self._witnesses = (seen, busy)
            else:
                self._settled = seen
                found, complete = self._read(limit)
        safe = self._safe(found)
        if safe:
            self.position = safe[-1].id
        return safe

    def _look_at_witnesses(self) -> None:
        if self._witnesses is None:
            return
        seen, busy = self._witnesses
        if not busy & self._writers():
            self._settled, self._witnesses = max(self._settled, seen), None

    def _read(self, limit: int) -> tuple[list[Event], bool]:
        """What is visible after the position, and whether all of it may be handed out."""
        with self._context.store.read() as session:
            statement = select(Event).where(Event.id > self.position).order_by(Event.id).limit(limit)
            found = list(session.scalars(statement))
        return found, len(self._safe(found)) == len(found)

    def _safe(self, found: list[Event]) -> list[Event]:
        last = self.position
        for index, event in enumerate(found):
            if event.id > max(last, self._settled) + 1:
                return found[:index]
            last = event.id
        return found

    def _writers(self) -> frozenset[str]:
        with self._context.store.read() as session:
            return writers(session, Event.__tablename__)


def _before_first_gap(session: Session, newest: int) -> int:
    """The largest id with no gap among the ids shortly below it."""
    recent = select(Event.id).where(Event.id > newest - LOOK_BACK, Event.id <= newest).order_by(Event.id)
    last = None
    for number in session.scalars(recent):
        if last is not None and number != last + 1:
            return last
        last = number
    return last if last is not None else newest
