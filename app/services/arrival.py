"""Whether what a request has changed is served: its records by the racks concerned, its generations by theirs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import records
from app.services.context import Context
from app.services.errors import NotFound
from app.store.models import Offer, Plan, Rack, RecordApply, RecordChange
from app.store.queries.scopes import scopes_of_rack

NAMED_RACKS = 50
AWAY = dt.timedelta(seconds=90)
"""A rack that was not heard of for so long is not waited for; one with nothing to tell is heard of every half minute or so."""


@dataclass(frozen=True)
class Missing:
    """A rack that does not serve a change yet, and what it lacks. away: it was not heard of lately."""

    rack_id: int
    rack: str
    what: str
    away: bool = False


@dataclass(frozen=True)
class Arrival:
    """How far a change has come. failure: why a rack could not apply one of its records; it is not live then."""

    sequence: int
    live: bool
    failure: str | None = None
    missing: list[Missing] = field(default_factory=list)
    applies: list[RecordApply] = field(default_factory=list)


def is_live(context: Context, sequence: int, generations: Mapping[int, int]) -> bool:
    """Whether everything is served or has failed, so that waiting on is of no use. At most five queries."""
    with context.store.read() as session:
        if sequence:
            standing = records.standing(session, sequence)
            if standing.failure is not None:
                return True
            if not standing.applied:
                return False
        return not _behind(session, generations)


def of_change(context: Context, sequence: int, generations: Mapping[int, int] | None = None) -> Arrival:
    """How far records up to a sequence, and generations by rack id, have come. NotFound for a sequence to come.

    sequence: of the last record of one transaction, as its answer named it; 0 for none.
    """
    context.require("viewer", "see how far a change has come")
    with context.store.read() as session:
        if sequence > records.last(session):
            raise NotFound(f"change {sequence}: there is no such change yet; the last is {records.last(session)}")
        standing = records.standing(session, sequence) if sequence else records.Standing(True, None)
        missing = _behind(session, generations or {})
        if not standing.applied:
            missing += _unapplied(session, sequence)
        applies = _applies(session, sequence) if sequence else []
        away = _away(session, context.clock() - AWAY, {one.rack_id for one in missing})
    missing = [replace(one, away=one.rack_id in away) for one in missing]
    live = standing.live and not missing
    return Arrival(sequence, live, standing.failure, missing, applies)


def _behind(session: Session, generations: Mapping[int, int]) -> list[Missing]:
    """Racks that do not run the structure of a generation: it is not planned, is held, or is not applied."""
    if not generations:
        return []
    found = []
    held = dict(
        session.execute(
            select(Plan.rack_id, Plan.id).where(Plan.rack_id.in_(generations), Plan.status == "held").order_by(Plan.id)
        ).all()
    )
    offered = select(Offer.generation).where(Offer.rack_id == Rack.id, Offer.number == Rack.applied_offer)
    statement = select(Rack, offered.scalar_subquery()).where(Rack.id.in_(generations)).order_by(Rack.id)
    for rack, running in session.execute(statement):
        wanted = generations[rack.id]
        if (running or 0) >= wanted:
            continue
        if rack.id in held:
            found.append(Missing(rack.id, rack.name, f"plan {held[rack.id]} is held and waits for approval"))
        elif rack.planned_generation < wanted:
            found.append(Missing(rack.id, rack.name, f"generation {wanted} is not planned yet"))
        elif rack.applied_offer < rack.offer_number:
            found.append(Missing(rack.id, rack.name, f"offer {rack.offer_number} is not applied yet"))
    return found


def _unapplied(session: Session, sequence: int) -> list[Missing]:
    """Racks that have yet to apply records that were written together with this one."""
    moment = select(RecordChange.at).where(RecordChange.sequence == sequence).scalar_subquery()
    together = select(RecordChange.scope).where(RecordChange.at == moment, RecordChange.sequence <= sequence)
    scopes = set(session.scalars(together.distinct()))
    late = select(Rack).where(Rack.token_hash.is_not(None), Rack.applied_records < sequence).order_by(Rack.id)
    found = []
    for rack in session.scalars(late.limit(NAMED_RACKS)):
        if scopes & set(scopes_of_rack(session, rack.id)):
            what = f"records up to {rack.applied_records} are applied, {sequence} is not"
            found.append(Missing(rack.id, rack.name, what))
    return found


def _away(session: Session, since: dt.datetime, rack_ids: set[int]) -> set[int]:
    """Which of these racks were not heard of since then."""
    if not rack_ids:
        return set()
    heard = set(session.scalars(select(Rack.id).where(Rack.id.in_(rack_ids), Rack.seen_at > since)))
    return rack_ids - heard


def _applies(session: Session, sequence: int) -> list[RecordApply]:
    """The batch in which each rack applied the sequence."""
    batch = select(RecordApply).where(RecordApply.sequence >= sequence).order_by(RecordApply.id).limit(NAMED_RACKS)
    first: dict[int, RecordApply] = {}
    for row in session.scalars(batch):
        first.setdefault(row.rack_id, row)
    return list(first.values())
