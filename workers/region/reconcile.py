"""Makes a rack's offer be what desired state says: load, render, plan, then offer or hold.  No input but the rack's id.

Nothing is offered when the content would be that of the newest offer, also when the rack could not apply that one: a
failed offer waits for desired state to change.  A plan that takes much away is held, service by service, while the
others go on; an approval counts as long as no plan takes away more than was approved.
What many racks are to take comes to a rack when its turn in the rollout has come (`rollouts`); until then the services
that the rollout changes keep their files, as those that are held do.
Two reconcilers at once make one offer: the writer locks the rack's row and looks again at what it read before.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app import metrics
from app.services import offers
from app.services.changes import changing, event, follow
from app.services.context import Context
from app.store.intent import load_intent
from app.store.models import Event, Offer, Plan, Rack, RackChange
from app.store.queries.scopes import scopes_of_rack
from app.store.unit_of_work import after_commit
from renderers import plan as planning
from renderers import registry
from renderers.bundle import Bundle
from renderers.intent import HaIntent, RackIntent
from renderers.spec import ServiceSpec
from workers.region import rollouts
from workers.region.rollout import partner_of, waits_for
from workers.region.rollouts import Turn

log = structlog.get_logger(__name__)
ATTEMPTS = 5
GENERATIONS_KEPT = 500
"""For so many generations of a rack it is remembered who changed what."""


@dataclass(frozen=True)
class Outcome:
    """What came of one look at a rack.

    status: current, offered, held (nothing else to offer), waits (for its partner, or its turn in a rollout) or gone.
    rollout: the open rollout that the rack is part of, if it should be looked at now.
    """

    status: str
    offer_number: int = 0
    held: tuple[str, ...] = ()
    rollout: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class _Seen:
    """What one snapshot said."""

    intent: RackIntent
    scopes: tuple[str, ...]
    offer_number: int
    newest_number: int | None
    content: dict[str, Any]
    approved: frozenset[str]
    is_planned: bool
    turn: Turn | None


def reconcile(context: Context, rack_id: int, specs: tuple[ServiceSpec, ...] | None = None) -> Outcome:
    """Look at one rack. A failure is written to the rack's events and raised.

    specs: the services that there are; those of the registry unless told otherwise.
    """
    specs = specs if specs is not None else registry.services()
    try:
        for _ in range(ATTEMPTS):
            outcome = _once(context, rack_id, specs)
            if outcome is not None:
                if outcome.rollout is not None:
                    rollouts.advance(context, outcome.rollout)
                metrics.RECONCILIATIONS.labels(outcome.status).inc()
                log.info("rack.reconciled", rack=rack_id, status=outcome.status, offer=outcome.offer_number)
                return outcome
    except Exception as error:
        metrics.RECONCILIATIONS.labels("failed").inc()
        _note_failure(context, rack_id, error)
        raise
    # Somebody keeps changing the rack; whoever changes it rings again.
    return Outcome("current")


def reconcile_all(context: Context, specs: tuple[ServiceSpec, ...] | None = None) -> dict[int, Outcome]:
    """Look at every enrolled rack. One that fails does not keep the others from their turn."""
    rollouts.advance_all(context)
    with context.store.read() as session:
        rack_ids = list(session.scalars(select(Rack.id).where(Rack.token_hash.is_not(None)).order_by(Rack.id)))
    outcomes = {}
    for rack_id in rack_ids:
        try:
            outcomes[rack_id] = reconcile(context, rack_id, specs)
        except Exception as error:
            log.error("rack.reconcile.failed", rack=rack_id, error=repr(error))
    return outcomes


def _once(context: Context, rack_id: int, specs: tuple[ServiceSpec, ...]) -> Outcome | None:
    """One attempt; None when the rack changed while it was being rendered."""
    with context.store.read() as session:
        rack = session.get(Rack, rack_id)
        if rack is None or rack.token_hash is None:
            return Outcome("gone")
        seen = _see(session, context, rack)
        if seen.intent.ha is not None and (partner := waits_for(session, context, rack, seen.intent.ha)) is not None:
            log.info("rack.waits", rack=rack.name, partner=partner)
            return Outcome("waits", rack.offer_number)
    turn = seen.turn
    if turn is not None and not turn.planned:
        rollouts.advance(context, turn.rollout_id)
        return None
    bundles = tuple(spec.render(seen.intent) for spec in specs if spec.wanted(seen.intent))
    running = offers.parts_of(seen.content)
    plan = planning.plan_bundles(bundles, [Bundle.from_data(part["bundle"]) for part in running.values()])
    held = _held(plan, seen.approved)
    kept = {danger.service: running.get(danger.service, {}) for danger in held}
    names = tuple(sorted(kept))
    wanted = {bundle.service: bundle for bundle in bundles}
    content = offers.content_of(seen.intent, specs, wanted, seen.scopes, kept)
    differ = _differ(running, offers.parts_of(content))
    if turn is None and differ and seen.is_planned and rollouts.begin_upgrade(context, rack_id):
        return None
    waiting: frozenset[str] = frozenset()
    if turn is not None and not turn.may and seen.newest_number is not None:
        waiting = turn.services if turn.looked else differ
        kept |= {name: running.get(name, {}) for name in waiting}
        if waiting:
            content = _as_before(offers.content_of(seen.intent, specs, wanted, seen.scopes, kept), seen.content)
    text = offers.canonical(content)
    # Numbers were raised above the newest offer when a rack knew higher ones: then the same content is offered again.
    unchanged = seen.newest_number == seen.offer_number and text == offers.canonical(seen.content)
    with changing(context) as session:
        if turn is not None and not rollouts.still(session, rack_id, turn):
            return None
        locked = session.scalar(select(Rack).where(Rack.id == rack_id).with_for_update())
        if locked is None:
            return Outcome("gone")
        if (locked.generation, locked.offer_number) != (seen.intent.generation, seen.offer_number):
            return None
        locked.planned_generation = seen.intent.generation
        requests, locked.request_id = _once_each(locked.request_id), None
        follow(session, requests)
        log.info("rack.planned", rack=locked.name, generation=locked.generation, request_id=requests)
        if held:
            _hold(session, context, locked, plan, held)
        else:
            _supersede(session, rack_id)
        number = locked.offer_number
        if not unchanged:
            number = _offer(session, context, locked, plan, text, wanted, kept, requests)
        ahead = None
        if turn is not None:
            rollouts.note(session, context, rack_id, turn, changed=differ, number=number, offered=not unchanged)
            ahead = turn.rollout_id if turn.may and turn.status not in ("kept", "unchanged") else None
        if not unchanged:
            return Outcome("offered", number, names, ahead)
        return Outcome("held" if held else "waits" if waiting & differ else "current", number, names, ahead)


def _differ(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> frozenset[str]:
    """Services that are to run other files, or the same ones otherwise, or that come or go."""
    texts = [{name: offers.canonical(part) for name, part in parts.items()} for parts in (before, after)]
    return frozenset(name for name in before.keys() | after.keys() if texts[0].get(name) != texts[1].get(name))


def _as_before(content: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The content with the zones and subnets that the services which wait know, and no scope of records beyond them."""
    zones, subnets = before.get("zones", []), before.get("subnets", [])
    known = set(before.get("scopes", ()))
    scopes = [scope for scope in content["scopes"] if scope in known]
    return {**content, "zones": zones, "subnets": subnets, "scopes": scopes}


def _see(session: Session, context: Context, rack: Rack) -> _Seen:
    newest = session.scalar(select(Offer).where(Offer.rack_id == rack.id).order_by(Offer.number.desc()).limit(1))
    approved = session.scalars(select(Plan.dangers).where(Plan.rack_id == rack.id, Plan.status == "approved"))
    intent = load_intent(session, rack.id)
    return _Seen(
        intent=intent,
        scopes=scopes_of_rack(session, rack.id),
        offer_number=rack.offer_number,
        newest_number=newest.number if newest is not None else None,
        content=json.loads(newest.content) if newest is not None else {"bundles": [], "probes": {}, "units": {}},
        is_planned=newest is not None
        and rack.planned_generation == rack.generation
        and newest.number == rack.offer_number,
        turn=_turn(session, context, rack, intent.ha),
        approved=frozenset(item for dangers in approved for danger in dangers for item in danger["hashes"]),
    )


def _turn(session: Session, context: Context, rack: Rack, ha: HaIntent | None) -> Turn | None:
    """The rack's place in the open rollout. It is its turn also where a partner whose turn it is waits for it."""
    turn = rollouts.turn_of(session, rack.id)
    if turn is None or turn.may or ha is None or (found := partner_of(session, rack)) is None:
        return turn
    partner = rollouts.turn_of(session, found[0].id)
    waited_for = partner is not None and partner.may and waits_for(session, context, found[0], ha) == rack.name
    return replace(turn, may=True, by_partner=True) if waited_for else turn


def _held(plan: planning.Plan, approved: frozenset[str]) -> tuple[planning.Danger, ...]:
    try:
        plan.refuse(approved)
    except planning.PlanRefused as refused:
        return refused.dangers
    return ()


def _hold(
    session: Session, context: Context, rack: Rack, plan: planning.Plan, held: tuple[planning.Danger, ...]
) -> None:
    """Store the held plan unless the rack's newest plan says the same already."""
    waiting = session.scalar(
        select(Plan).where(Plan.rack_id == rack.id, Plan.status == "held").order_by(Plan.id.desc())
    )
    if waiting is not None and waiting.danger_hash == plan.danger_hash:
        return
    _supersede(session, rack.id)
    row = _plan_row(context, rack, plan, "held")
    session.add(row)
    session.flush()
    reasons = "; ".join(danger.sentence for danger in held)
    event(
        session,
        context,
        "plan.held",
        f"Plan {row.id} for rack {rack.name} is held: {reasons}. Approve it, or restore what should stay.",
        rack_id=rack.id,
        level="warning",
        plan=row.id,
    )


def _supersede(session: Session, rack_id: int) -> None:
    session.execute(update(Plan).where(Plan.rack_id == rack_id, Plan.status == "held").values(status="superseded"))


def _plan_row(context: Context, rack: Rack, plan: planning.Plan, status: str) -> Plan:
    return Plan(
        rack_id=rack.id,
        generation=rack.generation,
        status=status,
        changes=[{"change": type(change).__name__.lower(), **asdict(change)} for change in plan.changes],
        dangers=[
            {
                "name": danger.name,
                "service": danger.service,
                "items": list(danger.items),
                "total": danger.total,
                "sentence": danger.sentence,
                "hashes": sorted(danger.hashes),
            }
            for danger in plan.dangers
        ],
        danger_hash=plan.danger_hash,
        created_at=context.clock(),
    )


def _offer(
    session: Session,
    context: Context,
    rack: Rack,
    plan: planning.Plan,
    text: str,
    wanted: dict[str, Bundle],
    kept: dict[str, dict[str, Any]],
    requests: str | None,
) -> int:
    number = rack.offer_number + 1
    services = [name for name in plan.services if name not in kept]
    row = _plan_row(context, rack, plan, "offered")
    session.add(row)
    if not kept:
        # What was approved has now been offered; taking it away again later is a new question.
        session.execute(update(Plan).where(Plan.rack_id == rack.id, Plan.status == "approved").values(status="offered"))
    session.flush()
    digests = {name: bundle.digest for name, bundle in wanted.items() if name not in kept}
    digests |= {name: part["bundle"]["digest"] for name, part in kept.items() if part}
    session.add(
        Offer(
            rack_id=rack.id,
            number=number,
            generation=rack.generation,
            plan_id=row.id,
            request_id=requests,
            content=text,
            signature=offers.sign(session, context, number, rack.name, text.encode()),
            digests=digests,
            created_at=context.clock(),
        )
    )
    rack.offer_number = number
    forgotten = rack.generation - GENERATIONS_KEPT
    session.execute(delete(RackChange).where(RackChange.rack_id == rack.id, RackChange.generation < forgotten))
    event(
        session,
        context,
        "rack.offered",
        f"Offer {number} for rack {rack.name} is ready"
        + (f": {', '.join(services)}." if services else "; no file of a service differs."),
        rack_id=rack.id,
        offer=number,
    )
    name = rack.name
    log.info("rack.offered", rack=name, offer=number, services=services, request_id=requests)
    after_commit(session, lambda: context.wake_rack(name))
    return number


def _once_each(requests: str | None) -> str | None:
    """The requests that raised a rack's generation, each named once."""
    return " ".join(dict.fromkeys(requests.split())) if requests else None


def _note_failure(context: Context, rack_id: int, error: Exception) -> None:
    """Write why a rack could not be reconciled, once as long as the reason stays the same."""
    message = f"The rack's configuration could not be made: {type(error).__name__}: {error}"
    with changing(context) as session:
        if session.get(Rack, rack_id) is None:
            return
        rollouts.failed(session, context, rack_id, message)
        newest = (
            select(Event.message)
            .where(Event.rack_id == rack_id, Event.kind.in_(("rack.reconcile.failed", "rack.offered")))
            .order_by(Event.id.desc())
            .limit(1)
        )
        if session.scalar(newest) != message:
            event(session, context, "rack.reconcile.failed", message, rack_id=rack_id, level="error")
