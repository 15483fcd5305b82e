"""Digests of what racks should have, kept beside the records at a constant cost for each change.

Nothing is added to the transactions that write records.  `fold` walks over the log once, in order, takes each key's old
weight off its bucket and puts the new one on, and notes which words are superseded; the counter `digested` says how far
it has come.  `at(sequence)` adds what lies between there and the sequence, so a rack is always compared with exactly
what it has read.  Folding is the region worker's: it takes seconds after an import, and a rack that asked for it would
make no record live meanwhile.  `compact` gives up what nobody needs; see `record_days` in `retention_rules`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from app.services import records
from app.services.context import Context
from app.store.locks import hold
from app.store.models import Counter, RecordChange, RecordDigest, RecordScope
from renderers.record_digest import MODULUS

DIGESTED = "digested"
FOLD = 500
"""Records of one transaction of `fold`, which keeps writers of SQLite waiting; below the 32,767 whose weights fit in a number."""
LATE = 1000
"""So many records that are not folded are too many for a comparison to walk over."""
_OLD = aliased(RecordChange)
_BEFORE = (
    select(func.max(_OLD.sequence))
    .where(_OLD.scope == RecordChange.scope, _OLD.key == RecordChange.key, _OLD.sequence < RecordChange.sequence)
    .scalar_subquery()
)
_WORDS = (
    select(RecordChange.scope, RecordChange.bucket, RecordChange.weight, RecordChange.at, _BEFORE.label("before"))
    .where(RecordChange.sequence > bindparam("low"), RecordChange.sequence <= bindparam("high"))
    .subquery()
)
_STEPS = (
    select(_WORDS.c.scope, _WORDS.c.bucket, _WORDS.c.weight, _WORDS.c.at, _WORDS.c.before, _OLD.weight.label("old"))
    .join(_OLD, _OLD.sequence == _WORDS.c.before, isouter=True)
)  # fmt: skip
_PUT = {
    name: insert(RecordDigest)
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}  # fmt: skip
_FLOOR = {name: insert(RecordScope) for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))}


def fold(context: Context, most: int = FOLD) -> int:
    """Bring the digests up to date, a transaction for each `most` records; how many records it was."""
    done = 0
    while True:
        with context.store.write() as session:
            hold(session, records.DIGESTS_LOCK)
            low, high = _digested(session), records.last(session)
            high = min(high, low + min(most, FOLD))
            if high <= low:
                return done
            steps = session.execute(_STEPS, {"low": low, "high": high}).all()
            _add(session, _sums(steps))
            _note_superseded(session, {row.before: row.at for row in steps if row.before is not None})
            session.execute(update(Counter).where(Counter.name == DIGESTED).values(value=high))
            done += high - low


def lags(session: Session) -> bool:
    """Whether `fold` has more to do than a comparison should walk over."""
    return records.last(session) - (session.scalar(select(Counter.value).where(Counter.name == DIGESTED)) or 0) > LATE


def catch_up(context: Context) -> int:
    """`fold`, where it lags; how many records it was.

    Not sooner: a rack can only be compared at a sequence that is not older than the digests, and some are behind a little.
    """
    with context.store.read() as session:
        late = lags(session)
    return fold(context) if late else 0


def at(session: Session, scopes: Iterable[str], sequence: int) -> dict[str, dict[int, int]] | None:
    """The digests of each scope's buckets as of a sequence, empty ones left out; None when that is not known any more.

    Three queries.  Known is what is not older than the last `fold`, and not newer than all records.
    """
    wanted = sorted(set(scopes))
    low = session.scalar(select(Counter.value).where(Counter.name == DIGESTED)) or 0
    if not low <= sequence <= records.last(session):
        return None
    found: dict[str, dict[int, int]] = {scope: {} for scope in wanted}
    stored = select(RecordDigest).where(RecordDigest.scope.in_(wanted))
    for row in session.scalars(stored):
        found[row.scope][row.bucket] = row.total
    steps = session.execute(_STEPS.where(_WORDS.c.scope.in_(wanted)), {"low": low, "high": sequence}).all()
    for (scope, bucket), delta in _sums(steps).items():
        found[scope][bucket] = (found[scope].get(bucket, 0) + delta) % MODULUS
    return {scope: {bucket: value for bucket, value in buckets.items() if value} for scope, buckets in found.items()}


def compact(context: Context, days: int, batch: int) -> int:
    """Give up words that were superseded, and tombstones written, more than `days` ago; how many rows went.

    A rack that has not read as far as a tombstone that went gets a snapshot of its scope (`RecordScope.floor`).  Costs as
    much as there is to give up, whatever is kept.
    """
    before = context.clock() - dt.timedelta(days=days)
    gone = 0
    while count := _drop_superseded(context, before, batch):
        gone += count
    while count := _drop_tombstones(context, before, batch):
        gone += count
    return gone


def _drop_superseded(context: Context, before: dt.datetime, batch: int) -> int:
    old = select(RecordChange.sequence).where(RecordChange.superseded_at < before)
    with context.store.write() as session:
        hold(session, records.DIGESTS_LOCK)
        found = list(session.scalars(old.order_by(RecordChange.superseded_at).limit(batch)))
        if found:
            session.execute(delete(RecordChange).where(RecordChange.sequence.in_(found)))
        return len(found)


def _drop_tombstones(context: Context, before: dt.datetime, batch: int) -> int:
    """With a tombstone go all older words of its key, or they would come to life again."""
    with context.store.write() as session:
        hold(session, records.DIGESTS_LOCK)
        old = (
            select(RecordChange.sequence, RecordChange.scope, RecordChange.key)
            .where(
                RecordChange.weight == 0,
                RecordChange.at < before,
                RecordChange.superseded_at.is_(None),
                RecordChange.sequence <= _digested(session),
            )
            .order_by(RecordChange.at)
            .limit(batch)
        )
        rows = session.execute(old).all()
        if not rows:
            return 0
        floors: dict[str, int] = defaultdict(int)
        for row in rows:
            floors[row.scope] = max(floors[row.scope], row.sequence)
        older = delete(RecordChange).where(
            RecordChange.scope == bindparam("in_scope"),
            RecordChange.key == bindparam("of_key"),
            RecordChange.sequence <= bindparam("up_to"),
        )
        given = [{"in_scope": row.scope, "of_key": row.key, "up_to": row.sequence} for row in rows]
        session.connection().execute(older, given)
        put = _FLOOR[session.get_bind().dialect.name]
        raised = put.on_conflict_do_update(
            index_elements=[RecordScope.scope],
            set_={"floor": put.excluded.floor},
            where=RecordScope.floor < put.excluded.floor,
        )
        session.connection().execute(raised, [{"scope": scope, "floor": floor} for scope, floor in floors.items()])
        return len(rows)


def _digested(session: Session) -> int:
    """How far the digests have come; the counter's row is made when there is none."""
    value = session.scalar(select(Counter.value).where(Counter.name == DIGESTED))
    if value is None:
        session.add(Counter(name=DIGESTED, value=0))
        session.flush()
    return value or 0


def _sums(steps: Iterable[Any]) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = defaultdict(int)
    for row in steps:
        sums[row.scope, row.bucket] += row.weight - (row.old or 0)
    return sums


def _add(session: Session, sums: dict[tuple[str, int], int]) -> None:
    if not sums:
        return
    known = {
        (row.scope, row.bucket): row.total
        for row in session.scalars(select(RecordDigest).where(RecordDigest.scope.in_({scope for scope, _ in sums})))
    }
    rows = [
        {"scope": scope, "bucket": bucket, "total": (known.get((scope, bucket), 0) + delta) % MODULUS}
        for (scope, bucket), delta in sums.items()
    ]
    put = _PUT[session.get_bind().dialect.name]
    merged = put.on_conflict_do_update(
        index_elements=[RecordDigest.scope, RecordDigest.bucket], set_={"total": put.excluded.total}
    )
    session.connection().execute(merged, rows)


def _note_superseded(session: Session, moments: dict[int, dt.datetime]) -> None:
    if moments:
        marked = update(RecordChange).where(RecordChange.sequence == bindparam("number"))
        values = [{"number": number, "moment": moment} for number, moment in moments.items()]
        session.connection().execute(marked.values(superseded_at=bindparam("moment")), values)
