"""Bulk work as jobs: asked for in one request, carried out by a region worker batch by batch, shown, and ended at will.

* A batch is one transaction of whole records; how far it has come is written in the same transaction, so whatever ends,
  nothing is done twice or half.  An item that is refused is named and the others go on: its batch is taken in halves.
* Single changes stay fast beside it.  Between two batches the worker leaves the database alone for a moment, so that
  whoever waits for the write lock gets it; and it does not write the next batch before the
  racks concerned have the last one (or are away), so that a rack never has more than one batch before a single change.
* A worker holds a job by a claim that it renews; when it dies, the next look goes on where it was.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services import arrival
from app.services.changes import audit, changing, event
from app.services.context import ROLES, Actor, Context, Made
from app.services.errors import Conflict, Invalid, NotFound, ServiceError, Unstorable
from app.services.job_kinds import KINDS, JobKind
from app.store.models import Job, JobBatch, Rack, User
from app.store.models.job import STATUSES
from app.store.queries.page import newest, page
from app.store.unit_of_work import after_commit

__all__ = ["MOST_ITEMS", "STATUSES", "begin", "cancel", "find", "get", "run", "start", "sweep"]
MOST_ITEMS = 20_000
NAMED_ERRORS = 100
CLAIM = dt.timedelta(seconds=60)
PAUSE_SECONDS = {"sqlite": 0.1, "postgresql": 0.01}
"""How long the database is left alone between two batches.  Who waits for SQLite's write lock looks every 0.1 s."""
PATIENCE_SECONDS = 3.0
"""How long the racks are waited for after a batch; once in vain, they are away."""
TOLD_SECONDS = 1.0
log = structlog.get_logger(__name__)


def start(context: Context, kind: str, items: Sequence[dict[str, Any]]) -> Job:
    """Ask for bulk work; it begins at once."""
    chosen = KINDS[kind]
    context.require(chosen.role, chosen.doing)
    if not 1 <= len(items) <= MOST_ITEMS:
        raise Invalid(
            f"{len(items)} items at once; send 1 to {MOST_ITEMS}, and the rest in another job",
            field="items",
            rule=f"1 to {MOST_ITEMS} items",
        )
    with changing(context) as session:
        return begin(session, context, kind, items)


def begin(
    session: Session,
    context: Context,
    kind: str,
    items: Sequence[dict[str, Any]],
    ends: Sequence[dict[str, Any]] = (),
) -> Job:
    """`start` inside an open transaction, for whoever may, of as many items as there are.

    ends: what follows, each in a batch of its own.
    """
    chosen = KINDS[kind]
    total = len(items) + len(ends)
    actor = context.actor
    job = Job(
        kind=kind,
        total=total,
        user_id=actor.user_id,
        actor=actor.name,
        role=actor.role,
        request_id=context.request_id,
        created_at=context.clock(),
    )
    session.add(job)
    session.flush()
    parts = [list(items[first : first + chosen.batch]) for first in range(0, len(items), chosen.batch)]
    first = 0
    for number, part in enumerate([*parts, *([one] for one in ends)]):
        session.add(JobBatch(job_id=job.id, number=number, first=first, items=part, count=len(part)))
        first += len(part)
    audit(session, context, "start", "job", job.id, kind=kind, total=total)
    _tell(session, context, job)
    after_commit(session, partial(context.ring.job, job.id))
    return job


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    kind: str | None = None,
    status: str | None = None,
) -> list[Job]:
    """A page of jobs by id; only those that are as asked."""
    context.require("viewer", "list jobs")
    wanted = {"kind": kind, "status": status}
    statement = select(Job).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    with context.store.read() as session:
        return list(session.scalars(page(statement, Job.id, after, limit)))


def latest(context: Context, below: int = 0, limit: int | None = None) -> list[Job]:
    """A page of jobs, newest first, going on below an id (0: from the newest)."""
    context.require("viewer", "list jobs")
    with context.store.read() as session:
        return list(session.scalars(newest(select(Job), Job.id, below, limit)))


def get(context: Context, job_id: int) -> Job:
    """One job. NotFound when there is none."""
    context.require("viewer", "see jobs")
    with context.store.read() as session:
        return _row(session, job_id)


def cancel(context: Context, job_id: int) -> Job:
    """End a job: the batch in hand is finished, what was made stays. Conflict when it has ended; for its owner or an admin."""
    context.require("operator", "end jobs")
    with changing(context) as session:
        job = _row(session, job_id)
        if job.finished_at is not None:
            raise Conflict(f"job {job.id} has ended already: {job.status}", rule="only a job that runs is ended")
        if job.user_id != context.actor.user_id:
            context.require("admin", f"end the job of {job.actor}")
        job.wanted_end = True
        audit(session, context, "cancel", "job", job.id, kind=job.kind)
        after_commit(session, partial(context.ring.job, job.id))
        return job


def sweep(context: Context) -> int:
    """Run every job that waits, or whose worker is gone; how many there were."""
    free = or_(Job.claimed_until.is_(None), Job.claimed_until < context.clock())
    with context.store.read() as session:
        waiting = list(session.scalars(select(Job.id).where(Job.finished_at.is_(None), free).order_by(Job.id)))
    for job_id in waiting:
        run(context, job_id)
    return len(waiting)


def run(context: Context, job_id: int, patience: float = PATIENCE_SECONDS) -> None:
    """Carry a job out to its end, if nobody else does."""
    job = _claim(context, job_id)
    if job is None:
        return
    mine = replace(_as_asker(context, job), made=Made())
    try:
        told, ready = time.monotonic(), KINDS[job.kind].ready
        while (batch := _next(context, job.id)) is not None:
            if ready is not None and not _waits(partial(ready, context, batch.items[0]), patience):
                _let_go(context, job.id)  # The next look goes on.
                return
            ready = None
            said = time.monotonic() - told >= TOLD_SECONDS
            _carry_out(mine, job, KINDS[job.kind], batch, tell=said)
            told = time.monotonic() if said else told
            patience = patience if _racks_have_it(mine, patience) else 0.0
            if batch.first + batch.count < job.total:
                time.sleep(PAUSE_SECONDS[context.store.engine.dialect.name])
        _finish(context, job.id)
    except BaseException:
        _let_go(context, job.id)
        raise


def _claim(context: Context, job_id: int) -> Job | None:
    now = context.clock()
    free = or_(Job.claimed_until.is_(None), Job.claimed_until < now)
    claimed = update(Job).where(Job.id == job_id, Job.finished_at.is_(None), free)
    with context.store.write() as session:
        values = {"claimed_until": now + CLAIM, "status": "running"}
        if session.execute(claimed.values(values).returning(Job.id)).scalar_one_or_none() is None:
            return None
        job = _row(session, job_id)
        job.started_at = job.started_at or now
        return job


def _as_asker(context: Context, job: Job) -> Context:
    """The context of whoever asked for the job, as far as they may still: a user that was closed may nothing.

    A role that is lower now counts.
    """
    role = job.role
    if job.user_id is not None:
        with context.store.read() as session:
            user = session.get(User, job.user_id)
        role = "viewer" if user is None or not user.active else min(role, user.role, key=ROLES.index)
    return context.acting_as(Actor(job.actor, role, job.user_id)).asked_by(job.request_id)


def _next(context: Context, job_id: int) -> JobBatch | None:
    """The next batch with something left to do; None at the end, or when somebody asked for it."""
    with context.store.write() as session:
        job = _row(session, job_id)
        if job.wanted_end:
            return None
        job.claimed_until = context.clock() + CLAIM
        left = select(JobBatch).where(JobBatch.job_id == job_id, JobBatch.done < JobBatch.count)
        return session.scalar(left.order_by(JobBatch.number).limit(1))


def _carry_out(context: Context, job: Job, kind: JobKind, batch: JobBatch, tell: bool) -> None:
    """Carry out what is left of a batch, in order; what is refused is taken in halves until it is named."""
    parts = [(batch.done, len(batch.items))]
    while parts:
        low, high = parts.pop(0)
        try:
            context.require(kind.role, kind.doing)
            with changing(context) as session:
                kind.put(session, context, batch.items[low:high])
                _note(session, context, job.id, batch.id, high - low, tell=tell)
        except (ServiceError, IntegrityError, Unstorable) as error:
            if high - low > 1:
                middle = (low + high) // 2
                parts[:0] = [(low, middle), (middle, high)]
                continue
            refusal = {"index": batch.first + low, "field": None, "detail": "somebody else has taken it meanwhile"}
            if isinstance(error, ServiceError):
                refusal |= {"field": error.field, "detail": error.detail}
            elif isinstance(error, Unstorable):
                refusal["detail"] = f"{error}; mend the item and send it again"
            with changing(context) as session:
                _note(session, context, job.id, batch.id, 1, refusal)


def _note(
    session: Session,
    context: Context,
    job_id: int,
    batch_id: int,
    count: int,
    refusal: Any = None,
    *,
    tell: bool = False,
) -> None:
    """Write how far it is, in the transaction of what was done."""
    session.execute(update(JobBatch).where(JobBatch.id == batch_id).values(done=JobBatch.done + count))
    values: dict[str, Any] = {"done": Job.done + count, "claimed_until": context.clock() + CLAIM}
    if refusal is not None:
        values["failed"] = Job.failed + 1
    session.execute(update(Job).where(Job.id == job_id).values(values))
    if refusal is None and not tell:
        return
    job = session.get_one(Job, job_id, populate_existing=True)
    if refusal is not None and len(job.errors) < NAMED_ERRORS:
        job.errors = [*job.errors, refusal]
    if tell:
        _tell(session, context, job)


def _waits(call: Callable[[], bool], patience: float) -> bool:
    """Whether something comes true in time."""
    until = time.monotonic() + patience
    while not call():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _racks_have_it(context: Context, patience: float) -> bool:
    """Wait until the racks have applied what was written last; False when they are away, or do not in time."""
    made = context.made
    until, pause = time.monotonic() + patience, 0.005
    while made is not None and made.sequence:
        if time.monotonic() > until or not _is_somebody_there(context):
            return False
        if arrival.is_live(context, made.sequence, {}):
            return True
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return True


def _is_somebody_there(context: Context) -> bool:
    """Whether any rack was heard of lately."""
    with context.store.read() as session:
        return session.scalar(select(Rack.id).where(Rack.seen_at > context.clock() - arrival.AWAY).limit(1)) is not None


def _finish(context: Context, job_id: int) -> None:
    with changing(context) as session:
        job = session.get_one(Job, job_id, populate_existing=True)
        if job.done < job.total:
            job.status = "cancelled"
        else:
            job.status = "failed" if job.failed == job.total else "succeeded"
        job.finished_at, job.claimed_until = context.clock(), None
        _tell(session, context, job)
    log.info("job.finished", job=job_id, kind=job.kind, status=job.status, done=job.done, failed=job.failed)


def _let_go(context: Context, job_id: int) -> None:
    """Let the next look go on with the job at once."""
    with context.store.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(claimed_until=None))


def _tell(session: Session, context: Context, job: Job) -> None:
    words = f"{job.done} of {job.total}" + (f", {job.failed} refused" if job.failed else "")
    event(
        session,
        context,
        "job.progress",
        f"Job {job.id} ({job.kind}, asked for by {job.actor}) {job.status}: {words}.",
        level="warning" if job.failed and job.finished_at else "info",
        job=job.id,
        work=job.kind,
        status=job.status,
        done=job.done,
        total=job.total,
        failed=job.failed,
    )


def _row(session: Session, job_id: int) -> Job:
    row = session.get(Job, job_id)
    if row is None:
        raise NotFound(f"there is no job {job_id}; list the jobs", field="job_id")
    return row
