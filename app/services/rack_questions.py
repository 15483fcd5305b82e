"""Questions to racks that somebody waits for: written here, claimed and answered by the rack, within a deadline.

What a rack should be goes by offers, and what a machine's controller should do by power orders; this is for the rest: what
only the host with the daemon can do or tell, at once, for somebody who waits.  The rack is woken by its long poll.  Nobody
waits longer than `seconds`; what was not claimed by then is never carried out, what was may have been.
An answer is kept for a day.  At most `AT_ONCE` requests of a process wait, so that they never take all of its threads.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.services.changes import changing, follow
from app.services.context import Context
from app.services.errors import Conflict, NotFound, TooMany, Unanswered
from app.store.models import Rack, RackQuestion
from app.store.unit_of_work import JoinedStore, after_commit

END_LEASE, NEW_KEY, CHECK = "end-lease", "new-omapi-key", "check"
KINDS = (END_LEASE, NEW_KEY, CHECK)
AT_ONCE = 6
SILENT_SECONDS = 180
"""A rack that was not heard for so long is not waited for: it reports every half minute."""
POLL_SECONDS = 0.05
KEEP_SECONDS = 86_400
LISTED = 100
_places = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True)
class Reply:
    """What has come of a question. answer: what the rack says; reason: why it could not, or that it said nothing."""

    rack: str
    answer: Mapping[str, Any] | None
    reason: str = ""


def ask(context: Context, kind: str, bodies: Mapping[int, Mapping[str, Any]], seconds: float) -> dict[int, Reply]:
    """Ask racks, by id, and wait for all of them. TooMany when too many wait; Unanswered inside another transaction."""
    if isinstance(context.store, JoinedStore):
        raise Unanswered(
            "a request with an Idempotency-Key is one transaction, and no rack hears of it before its end",
            remedy="send it without the key",
        )
    if not bodies:
        return {}
    if not _places.acquire(blocking=False):
        raise TooMany(
            f"{AT_ONCE} requests are waiting for racks already",
            retry_seconds=2,
            rule=f"at most {AT_ONCE} requests wait for racks at once",
        )
    try:
        names, silent = _write(context, kind, bodies, seconds)
        return silent | (_wait(context, names, seconds) if names else {})
    finally:
        _places.release()


def one(context: Context, kind: str, rack_id: int, body: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
    """Ask one rack; its answer. Unanswered, with its reason, when there is none."""
    reply = ask(context, kind, {rack_id: body}, seconds)[rack_id]
    if reply.answer is None:
        raise Unanswered(f"rack {reply.rack}: {reply.reason}", remedy="look at the rack's page and log, then try again")
    return reply.answer


def waiting(context: Context, rack_id: int) -> list[dict[str, Any]]:
    """Questions that the rack has not claimed, oldest first."""
    statement = (
        select(RackQuestion.id, RackQuestion.kind)
        .where(
            RackQuestion.rack_id == rack_id,
            RackQuestion.status == "waiting",
            RackQuestion.deadline_at > context.clock(),
        )
        .order_by(RackQuestion.id)
        .limit(LISTED)
    )
    with context.store.read() as session:
        return [{"id": id_, "kind": kind} for id_, kind in session.execute(statement)]


def claim(context: Context, rack_id: int, question_id: int) -> dict[str, Any]:
    """Take one question with its particulars. Conflict when it was taken, or nobody waits for it any more."""
    with changing(context) as session:
        row = _of_rack(session, rack_id, question_id)
        now = context.clock()
        taken = session.scalar(
            update(RackQuestion)
            .where(RackQuestion.id == row.id, RackQuestion.status == "waiting", RackQuestion.deadline_at > now)
            .values(status="claimed", claimed_at=now)
            .returning(RackQuestion.id)
        )
        if taken is None:
            raise Conflict(f"question {question_id}: nobody waits for it any more; fetch the list again")
        left = (row.deadline_at - now).total_seconds()
        return {"id": row.id, "kind": row.kind, "body": row.body, "seconds": left, "request_id": row.request_id}


def answer(context: Context, rack_id: int, question_id: int, said: dict[str, Any] | None, reason: str | None) -> None:
    """The rack's answer, or why it has none. A second one, and one that comes too late, changes nothing."""
    with changing(context) as session:
        row = _of_rack(session, rack_id, question_id)
        follow(session, row.request_id)
        session.execute(
            update(RackQuestion)
            .where(RackQuestion.id == row.id, RackQuestion.status == "claimed")
            .values(
                status="failed" if said is None else "answered",
                answer=said,
                reason=reason,
                body=None,
                finished_at=context.clock(),
            )
        )


def _write(
    context: Context, kind: str, bodies: Mapping[int, Mapping[str, Any]], seconds: float
) -> tuple[dict[int, tuple[int, str]], dict[int, Reply]]:
    """Write the questions; rack id and name by question, and replies for racks that nobody has heard lately."""
    now = context.clock()
    silent: dict[int, Reply] = {}
    with changing(context) as session:
        newest = select(func.max(RackQuestion.id)).group_by(RackQuestion.rack_id)
        old = RackQuestion.deadline_at < now - dt.timedelta(seconds=KEEP_SECONDS)
        session.execute(delete(RackQuestion).where(old, RackQuestion.id.not_in(newest)))
        found: dict[int, tuple[int, str]] = {}
        for rack_id, body in bodies.items():
            rack = session.get(Rack, rack_id)
            if rack is None:
                raise NotFound(f"there is no rack {rack_id}", field="rack_id")
            if rack.seen_at is None or now - rack.seen_at > dt.timedelta(seconds=SILENT_SECONDS):
                last = "never heard" if rack.seen_at is None else f"last heard at {rack.seen_at:%Y-%m-%d %H:%M:%S} UTC"
                silent[rack_id] = Reply(rack.name, None, f"it was {last}; nothing was asked")
                continue
            row = RackQuestion(
                rack_id=rack_id,
                kind=kind,
                body=dict(body),
                actor=context.actor.name,
                request_id=context.request_id,
                created_at=now,
                deadline_at=now + dt.timedelta(seconds=seconds),
            )
            session.add(row)
            session.flush()
            found[row.id] = rack_id, rack.name
            after_commit(session, partial(context.wake_rack, rack.name))
        return found, silent


def _wait(context: Context, names: dict[int, tuple[int, str]], seconds: float) -> dict[int, Reply]:
    """The replies by rack, once all are there or the time is over."""
    until = time.monotonic() + seconds
    statement = select(RackQuestion).where(RackQuestion.id.in_(names))
    while True:
        with context.store.read() as session:
            rows = list(session.scalars(statement))
        if all(row.finished_at is not None for row in rows) or time.monotonic() >= until:
            break
        time.sleep(POLL_SECONDS)
    late = [row.id for row in rows if row.finished_at is None]
    if late:
        with changing(context) as session:
            lost = RackQuestion.id.in_(late) & RackQuestion.finished_at.is_(None)
            session.execute(
                update(RackQuestion).where(lost).values(status="lost", body=None, finished_at=context.clock())
            )
            rows = list(session.scalars(statement.execution_options(populate_existing=True)))
    found = {row.id: _reply(names[row.id][1], row, seconds) for row in rows}
    gone = {number: Reply(name, None, "it was deleted meanwhile") for number, (_, name) in names.items()}
    return {names[number][0]: reply for number, reply in (gone | found).items()}


def _reply(rack: str, row: RackQuestion, seconds: float) -> Reply:
    if row.status == "answered":
        return Reply(rack, row.answer or {})
    if row.status == "failed":
        return Reply(rack, None, row.reason or "it gives no reason")
    if row.claimed_at is None:
        return Reply(rack, None, f"it did not hear the question within {seconds:g} s; nothing was done")
    return Reply(rack, None, f"it gave no answer within {seconds:g} s; it may have done it all the same")


def _of_rack(session: Session, rack_id: int, question_id: int) -> RackQuestion:
    row = session.get(RackQuestion, question_id)
    if row is None or row.rack_id != rack_id:
        raise NotFound(f"question {question_id}: there is none for this rack; fetch the list again")
    return row
