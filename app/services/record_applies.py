"""How racks make batches of records live: a row for each, with the time of every stage, and a metric."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app import metrics
from app.services.context import Context
from app.store.models import RecordApply, RecordChange
from app.store.unit_of_work import after_commit


@dataclass(frozen=True)
class Batch:
    """How a rack made a batch of records live. newest: the last sequence in it; fetched: when we sent it, by our clock.

    seconds: fetch, daemon, check; durations on the rack.
    """

    count: int
    newest: int
    fetched: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def note_batch(session: Session, context: Context, rack_id: int, batch: Batch, failed: int) -> None:
    """Write how long each stage took, by one clock, ours: what the rack says are durations."""
    now = context.clock()
    newest = session.get(RecordChange, batch.newest)
    seconds = dict(batch.seconds)
    if newest is not None:
        if newest.asked_at is not None:
            seconds["request"] = (newest.at - newest.asked_at).total_seconds()
        seconds["total"] = (now - newest.at).total_seconds()
        if batch.fetched is not None:
            on_the_rack = sum(batch.seconds.get(name, 0.0) for name in ("fetch", "daemon", "check"))
            seconds["wake"] = batch.fetched - newest.at.timestamp()
            seconds["report"] = now.timestamp() - batch.fetched - on_the_rack
    seconds = {name: round(max(0.0, seconds[name]), 5) for name in metrics.RECORD_STAGES if name in seconds}
    session.add(
        RecordApply(
            rack_id=rack_id,
            sequence=batch.newest,
            count=batch.count,
            failed=failed,
            seconds=seconds,
            request_id=newest.request_id if newest is not None else None,
            at=now,
        )
    )
    after_commit(session, lambda: _observe(seconds))


def _observe(seconds: dict[str, float]) -> None:
    for stage, value in seconds.items():
        metrics.RECORD_SECONDS.labels(stage).observe(value)
