"""Rollouts as people see them: how far a change has come, where it stopped and why, who has it; and the word to go on.

They are begun by changes (`rollout_start`) and taken forward by the region worker.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.services import refusals
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.services.errors import Conflict, NotFound
from app.services.refusals import Cause
from app.services.rollout_start import OPEN
from app.store.models import Rack, Rollout, RolloutRack
from app.store.queries.page import page
from app.store.unit_of_work import after_commit

HAVE = ("kept", "unchanged")
NAMED = 8
"""So many racks are named in a sentence."""


@dataclass(frozen=True)
class RackInRollout:
    """One rack of a rollout."""

    rack_id: int
    rack: str
    wave: int | None
    canary: bool
    status: str
    services: list[str]
    offer_number: int | None
    reason: str | None
    at: dt.datetime


@dataclass(frozen=True)
class RolloutView:
    """One rollout with its racks, in the order of their waves. sentence: how it stands, for people."""

    id: int
    status: str
    cause: str
    actor: str
    causes: list[Cause]
    wave: int | None
    waves: int
    stopped_rack: str | None
    reason: str | None
    sentence: str
    racks: list[RackInRollout]
    begun_at: dt.datetime | None
    ended_at: dt.datetime | None
    created_at: dt.datetime

    @property
    def have(self) -> list[str]:
        """Names of the racks that have it, or on which nothing differs."""
        return [one.rack for one in self.racks if one.status in HAVE]

    @property
    def have_not(self) -> list[str]:
        """Names of the others."""
        return [one.rack for one in self.racks if one.status not in HAVE]


def find(
    context: Context, after: int | None = None, limit: int | None = None, *, status: str | None = None
) -> list[Rollout]:
    """A page of rollouts by id, or of those in one status."""
    context.require("viewer", "see rollouts")
    statement = select(Rollout)
    if status is not None:
        statement = statement.where(Rollout.status == status)
    with context.store.read() as session:
        return list(session.scalars(page(statement, Rollout.id, after, limit)))


def get(context: Context, rollout_id: int) -> RolloutView:
    """One rollout. NotFound when there is none."""
    context.require("viewer", "see rollouts")
    with context.store.read() as session:
        return _view(session, _row(session, rollout_id))


def of_rack(session: Session, rack_id: int) -> RolloutView | None:
    """The open rollout that a rack is part of; None when it is in none."""
    mine = select(RolloutRack.rollout_id).where(RolloutRack.rack_id == rack_id)
    rollout = session.scalar(select(Rollout).where(Rollout.status.in_(OPEN), Rollout.id.in_(mine)))
    return _view(session, rollout) if rollout is not None and rollout.begun_at is not None else None


def go_on(context: Context, rollout_id: int) -> RolloutView:
    """Let a halted rollout go on without the rack that stopped it. Conflict when it is not halted."""
    context.require("operator", "continue a rollout")
    with changing(context) as session:
        rollout = session.scalar(select(Rollout).where(Rollout.id == rollout_id).with_for_update())
        if rollout is None:
            raise NotFound(f"there is no rollout {rollout_id}", field="rollout_id")
        if rollout.status != "halted":
            raise Conflict(
                f"rollout {rollout_id} is {rollout.status}, not halted, so there is nothing to continue",
                rule="only a halted rollout is continued",
            )
        stopped = rollout.stopped_rack_id
        mine = update(RolloutRack).where(RolloutRack.rollout_id == rollout_id, RolloutRack.rack_id == stopped)
        session.execute(mine.values(status="passed", at=context.clock()))
        name = session.scalar(select(Rack.name).where(Rack.id == stopped)) or "a rack that is gone"
        reason, rollout.status, rollout.stopped_rack_id, rollout.reason = rollout.reason, "running", None, None
        audit(session, context, "continue", "rollout", rollout_id, without=name, reason=reason)
        message = f"{context.actor.name} lets rollout {rollout_id} go on without rack {name}."
        event(session, context, "rollout.continued", message, rack_id=stopped, rollout=rollout_id)
        if stopped is not None:
            after_commit(session, partial(context.ring.reconcile, stopped))
        return _view(session, rollout)


def title(session: Session, rollout: Rollout) -> str:
    """What it is, in a few words."""
    if rollout.cause == "upgrade":
        return f"Rollout {rollout.id} (Muster itself writes other files than before)"
    causes = "; ".join(cause.sentence for cause in refusals.causes_of(session, rollout.changes))
    return f"Rollout {rollout.id} ({causes or f'{rollout.actor}: a change without an audit row'})"


def counted(rows: Sequence[RolloutRack]) -> str:
    """How many racks have it, and how many have not."""
    kept = sum(row.status == "kept" for row in rows)
    same = sum(row.status == "unchanged" for row in rows)
    parts = [f"{kept} of {len(rows)} racks have kept it"]
    parts += [f"nothing differs on {same}"] if same else []
    left = len(rows) - kept - same
    return ", ".join(parts + ([f"{left} have it not"] if left else []))


def halted_sentence(session: Session, rollout: Rollout, rows: Sequence[RolloutRack], names: Mapping[int, str]) -> str:
    """Where and why it stopped, by whose change, who has it and who has not, and what to do."""
    have = [names[row.rack_id] for row in rows if row.status in HAVE and row.rack_id in names]
    left = [names[row.rack_id] for row in rows if row.status not in HAVE and row.rack_id in names]
    stopped = names.get(rollout.stopped_rack_id or 0, "that is gone")
    return (
        f"{title(session, rollout)} has stopped at rack {stopped}: {rollout.reason}. Have it: {_listed(have)}."
        f" Have it not: {_listed(left)}. Correct or revert the change; or mend the rack, and `muster rack retry {stopped}`;"
        f" or `muster rollout continue {rollout.id}` goes on without {stopped}."
    )


def _view(session: Session, rollout: Rollout) -> RolloutView:
    statement = (
        select(RolloutRack, Rack.name)
        .join(Rack, Rack.id == RolloutRack.rack_id)
        .where(RolloutRack.rollout_id == rollout.id)
        .order_by(RolloutRack.wave, RolloutRack.rack_id)
    )
    found = session.execute(statement).all()
    rows, names = [row for row, _ in found], {row.rack_id: name for row, name in found}
    highest = max((row.wave for row in rows if row.wave is not None), default=-1)
    if rollout.status == "halted":
        sentence = halted_sentence(session, rollout, rows, names)
    else:
        sentence = f"{title(session, rollout)} is {rollout.status}: {counted(rows)}."
    return RolloutView(
        id=rollout.id,
        status=rollout.status,
        cause=rollout.cause,
        actor=rollout.actor,
        causes=refusals.causes_of(session, rollout.changes),
        wave=rollout.wave + 1 if rollout.wave >= 0 else None,
        waves=highest + 1,
        stopped_rack=names.get(rollout.stopped_rack_id) if rollout.stopped_rack_id is not None else None,
        reason=rollout.reason,
        sentence=sentence,
        racks=[
            RackInRollout(
                row.rack_id,
                name,
                row.wave + 1 if row.wave is not None else None,
                row.canary,
                row.status,
                list(row.services),
                row.offer_number,
                row.reason,
                row.at,
            )
            for row, name in found
        ],
        begun_at=rollout.begun_at,
        ended_at=rollout.ended_at,
        created_at=rollout.created_at,
    )


def _row(session: Session, rollout_id: int) -> Rollout:
    rollout = session.get(Rollout, rollout_id)
    if rollout is None:
        raise NotFound(f"there is no rollout {rollout_id}", field="rollout_id")
    return rollout


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "") if names else "none"
