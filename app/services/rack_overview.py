"""A rack as people see it: what it runs, how the last offers went, what it could not apply, and whether all agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from app.services import plans, reports
from app.services.changes import audit, changing, event, touch_racks
from app.services.context import Context
from app.services.racks import rack_row
from app.store.models import Apply, Observation, Plan, Rack, RecordFailure

ALIVE_SECONDS = 90
SHOWN = 50


@dataclass(frozen=True)
class Overview:
    """One rack with what is known of it. reasons: sentences that say why it is not in sync; empty when it is."""

    rack: Rack
    services: list[Observation]
    applies: list[Apply]
    held: list[Plan]
    failures: list[RecordFailure]
    reasons: list[str]

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
    services = reports.observations(context, rack_id)
    held = plans.held(context, rack_id, limit=SHOWN)
    reasons = _reasons(context, rack, services, held, failures)
    return Overview(rack, services, reports.applies(context, rack_id, SHOWN), held, failures, reasons)


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


def _reasons(
    context: Context, rack: Rack, services: list[Observation], held: list[Plan], failures: list[Any]
) -> list[str]:
    found = []
    age = (context.clock() - rack.seen_at).total_seconds() if rack.seen_at else None
    if age is None or age > ALIVE_SECONDS:
        found.append(f"it was last heard of {age:.0f} s ago" if age is not None else "it was never heard of")
    if rack.planned_generation < rack.generation:
        found.append(f"generation {rack.generation} is not planned yet (planned is {rack.planned_generation})")
    if rack.applied_offer < rack.offer_number:
        found.append(f"offer {rack.offer_number} is not applied yet (applied is {rack.applied_offer})")
    if held:
        found.append(f"plan {held[0].id} is held and waits for approval")
    if failures:
        found.append(f"{len(failures)} record changes could not be applied, the first: {failures[0].reason}")
    for service in services:
        if not service.running:
            found.append(f"{service.service} does not run: {service.detail or 'no reason was given'}")
        elif service.probes_ok is False:
            found.append(f"{service.service} fails its probe: {service.detail or 'no reason was given'}")
    return found
