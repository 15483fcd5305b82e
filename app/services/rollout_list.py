"""Rollouts as a list for people: newest first, how far each has come, and whose change it carries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.services import refusals
from app.services.context import Context
from app.services.rollout_start import OPEN
from app.services.rollouts import HAVE
from app.store.models import Rack, Rollout, RolloutRack
from app.store.queries.page import newest


@dataclass(frozen=True)
class RolloutLine:
    """One rollout. what: the changes behind it, oldest first; have: how many of its `racks` have it, or differ in nothing.

    stopped_rack, reason: where and why it is halted.
    """

    id: int
    status: str
    what: list[str]
    racks: int
    have: int
    stopped_rack: str | None
    reason: str | None
    created_at: dt.datetime


def latest(context: Context, below: int = 0, limit: int | None = None) -> list[RolloutLine]:
    """A page of rollouts, newest first, going on below an id (0: from the newest). Four statements."""
    context.require("viewer", "list rollouts")
    with context.store.read() as session:
        return _lines(session, session.scalars(newest(select(Rollout), Rollout.id, below, limit)).all())


def under_way(session: Session) -> list[RolloutLine]:
    """The rollout that is running or halted, if there is one, of which some rack has been offered something."""
    open_ones = select(Rollout).where(Rollout.status.in_(OPEN), Rollout.begun_at.is_not(None))
    return _lines(session, session.scalars(open_ones.order_by(Rollout.id)).all())


def _lines(session: Session, found: Sequence[Rollout]) -> list[RolloutLine]:
    if not found:
        return []
    stopped = select(Rack.id, Rack.name).where(Rack.id.in_([rollout.stopped_rack_id for rollout in found]))
    names = {row.id: row.name for row in session.execute(stopped)}
    has = func.sum(case((RolloutRack.status.in_(HAVE), 1), else_=0))
    counted = (
        select(RolloutRack.rollout_id, func.count(), has)
        .where(RolloutRack.rollout_id.in_([rollout.id for rollout in found]))
        .group_by(RolloutRack.rollout_id)
    )
    counts = {number: (int(racks), int(have)) for number, racks, have in session.execute(counted)}
    changes = sorted({change for rollout in found for change in rollout.changes})
    causes = {cause.change_event_id: cause for cause in refusals.causes_of(session, changes)}
    return [
        RolloutLine(
            rollout.id,
            rollout.status,
            [f"{cause.actor}: {cause.what}" for change in rollout.changes if (cause := causes.get(change))],
            *counts.get(rollout.id, (0, 0)),
            names.get(rollout.stopped_rack_id or 0),
            rollout.reason,
            rollout.created_at,
        )
        for rollout in found
    ]
