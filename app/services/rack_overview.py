"""A rack as people see it: what it runs, how the last offers went, what it could not apply, and whether all agrees."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.services import foreign_dhcp, plans, rack_serving, refusals, reports, rollouts, zone_reports
from app.services.changes import audit, changing, event, touch_racks
from app.services.context import Context
from app.services.errors import Conflict
from app.services.rack_serving import Served
from app.services.racks import rack_row
from app.services.refusals import WHOLE_OFFER, Refusal
from app.services.rollouts import RolloutView
from app.services.zone_reports import Behind
from app.store.models import (
    Apply,
    ForeignDhcpServer,
    Observation,
    Offer,
    Plan,
    Rack,
    RecordChange,
    RecordDrift,
    RecordFailure,
)
from app.store.queries.scopes import scopes_of_rack

ALIVE_SECONDS = 90
LATE_SECONDS = 20
"""How long a record may be under way before people are told."""
SHOWN = 50
ZONES_SHOWN = 5


@dataclass(frozen=True)
class Overview:
    """One rack with what is known of it. refused: what it would not run; serves: its VLANs; rollout: the open one it is in.

    reasons: why it is not in sync, empty when it is.  foreign_dhcp: whom it hears that should not be there, which is no
    fault of the rack's.
    """

    rack: Rack
    services: list[Observation]
    applies: list[Apply]
    held: list[Plan]
    failures: list[RecordFailure]
    refused: list[Refusal]
    serves: list[Served]
    reasons: list[str]
    drift: list[RecordDrift]
    rollout: RolloutView | None
    foreign_dhcp: list[ForeignDhcpServer]

    @property
    def in_sync(self) -> bool:
        """Whether the rack runs what it should."""
        return not self.reasons


def of_rack(context: Context, rack_id: int) -> Overview:
    """Everything about one rack."""
    context.require("viewer", "see racks")
    with context.store.read() as session:
        rack = rack_row(session, rack_id)
        statement = (
            select(RecordFailure).where(RecordFailure.rack_id == rack_id).order_by(RecordFailure.id).limit(SHOWN)
        )
        failures = list(session.scalars(statement))
        refused = refusals.of_rack(session, rack_id, rack.name)
        digests = session.scalar(
            select(Offer.digests).where(Offer.rack_id == rack_id).order_by(Offer.number.desc()).limit(1)
        )
        serves = rack_serving.of_rack(session, rack)
        rollout = rollouts.of_rack(session, rack_id)
        strangers = foreign_dhcp.present(context, session, rack_id)
        late = _oldest_unapplied(session, rack)
        behind = zone_reports.behind(session, context.clock()).get(rack_id, [])
        drift = list(
            session.scalars(
                select(RecordDrift).where(RecordDrift.rack_id == rack_id).order_by(RecordDrift.at.desc()).limit(SHOWN)
            )
        )
    services = reports.observations(context, rack_id)
    held = plans.held(context, rack_id, limit=SHOWN)
    reasons = [
        *_lags(context, rack, late),
        *_waits(rack, rollout),
        *([f"plan {held[0].id} is held and waits for approval"] if held else []),
        *(f"{one.title}: {one.reason}" for one in refused),
        *_failed_records(failures),
        *_drifted(rack, drift),
        *_behind(context, behind),
        *_services(rack, services, digests or {}, {one.service for one in refused}),
    ]
    return Overview(
        rack,
        services,
        reports.applies(context, rack_id, SHOWN),
        held,
        failures,
        refused,
        serves,
        reasons,
        drift,
        rollout,
        strangers,
    )


def reconcile(context: Context, rack_id: int | None = None) -> list[str]:
    """Have a rack, or all of them, compared again with what they should be; names of the racks that will be."""
    context.require("operator", "ask for a reconciliation")
    with changing(context) as session:
        racks = [rack_row(session, rack_id)] if rack_id is not None else session.scalars(select(Rack)).all()
        touch_racks(session, [rack.id for rack in racks])
        for rack in racks:
            audit(session, context, "reconcile", "rack", rack.id, name=rack.name)
            message = f"{context.actor.name} asked for a reconciliation."
            event(session, context, "rack.reconcile", message, rack_id=rack.id)
        return sorted(rack.name for rack in racks)


def retry(context: Context, rack_id: int) -> list[Refusal]:
    """Have a rack try again what it refused, by the same content under a new number. Conflict when it refuses nothing."""
    context.require("operator", "ask for a retry")
    with changing(context) as session:
        rack = rack_row(session, rack_id)
        refused = refusals.of_rack(session, rack_id, rack.name)
        if not refused:
            raise Conflict(
                f"rack {rack.name} has refused nothing, so there is nothing to try again; to have it compared with what"
                f" it should be, ask for a reconciliation (`muster rack reconcile {rack.name}`)",
                rule="a retry follows a refusal",
            )
        # The reconciler offers the same content again when the rack's number is above its newest offer's.
        session.execute(update(Rack).where(Rack.id == rack_id).values(offer_number=Rack.offer_number + 1))
        touch_racks(session, [rack_id])
        names = [one.service for one in refused]
        audit(session, context, "retry", "rack", rack_id, name=rack.name, services=names)
        message = f"{context.actor.name} asked for a retry of {', '.join(names)}."
        event(session, context, "rack.retry", message, rack_id=rack_id)
        return refused


def _oldest_unapplied(session: Session, rack: Rack) -> dt.datetime | None:
    """When the first record was written that the rack has not dealt with; None when there is none."""
    waiting = (
        select(RecordChange.at)
        .where(RecordChange.scope.in_(scopes_of_rack(session, rack.id)), RecordChange.sequence > rack.applied_records)
        .order_by(RecordChange.sequence)
        .limit(1)
    )
    return session.scalar(waiting)


def _lags(context: Context, rack: Rack, late: dt.datetime | None) -> list[str]:
    found = []
    age = (context.clock() - rack.seen_at).total_seconds() if rack.seen_at else None
    if age is None or age > ALIVE_SECONDS:
        found.append(f"it was last heard of {age:.0f} s ago" if age is not None else "it was never heard of")
    if rack.planned_generation < rack.generation:
        found.append(f"generation {rack.generation} is not planned yet (planned is {rack.planned_generation})")
    if rack.applied_offer < rack.offer_number:
        found.append(f"offer {rack.offer_number} is not applied yet (applied is {rack.applied_offer})")
    waited = (context.clock() - late).total_seconds() if late is not None else 0.0
    if waited > LATE_SECONDS:
        found.append(f"hosts or names wait to go live since {waited:.0f} s (applied up to {rack.applied_records})")
    return found


def _waits(rack: Rack, rollout: RolloutView | None) -> list[str]:
    """What a rack has not yet been offered of the open rollout."""
    mine = [one for one in rollout.racks if one.rack_id == rack.id and one.status == "waiting"] if rollout else []
    if rollout is None or not mine:
        return []
    where = f"wave {mine[0].wave} of {rollout.waves}" if mine[0].wave else "its turn"
    stopped = f", which has stopped at rack {rollout.stopped_rack}" if rollout.status == "halted" else ""
    return [f"it waits for {where} of rollout {rollout.id}{stopped}"]


def _failed_records(failures: list[RecordFailure]) -> list[str]:
    if not failures:
        return []
    first = failures[0]
    by = f", changed by {first.actor}" if first.actor else ""
    return [f"{len(failures)} record changes could not be applied, the first: {first.reason}{by}"]


def _drifted(rack: Rack, drift: list[RecordDrift]) -> list[str]:
    found = [f"its own copy of the records of {scope} differs from ours" for scope in rack.differing or ()]
    for one in drift:
        if one.left:
            where = "its own copy" if one.place == "store" else "what its daemon serves"
            found.append(f"{one.left} records of {one.scope} differ in {where} and could not be mended")
    return found


def _behind(context: Context, zones: list[Behind]) -> list[str]:
    """The zones that are behind; past a handful they are counted."""
    said = [zone.sentence(context.clock()) for zone in zones[:ZONES_SHOWN]]
    more = len(zones) - len(said)
    return said + ([f"{more} more zones are behind their primaries"] if more else [])


def _services(rack: Rack, services: list[Observation], digests: dict[str, Any], refused: set[str]) -> list[str]:
    """What each service lacks; what is refused has been said already."""
    found = []
    settled = rack.applied_offer == rack.offer_number and WHOLE_OFFER not in refused
    for service in services:
        wanted = digests.get(service.service)
        if not service.running:
            found.append(f"{service.service} does not run: {service.detail or 'no reason was given'}")
        elif service.probes_ok is False:
            found.append(f"{service.service} fails its probe: {service.detail or 'no reason was given'}")
        elif settled and wanted is not None and service.digest != wanted and service.service not in refused:
            found.append(f"{service.service} runs other files than offer {rack.offer_number} asks for")
    missing = sorted(digests.keys() - {service.service for service in services} - refused) if settled else []
    return found + [f"{name} is wanted, and the rack does not run it" for name in missing]
