"""What racks report: how an offer went, what runs, which records are live. Observed, never desired.

A rack that knows higher numbers than we do has seen a control plane that was since restored from a backup; our numbers
are then raised above its own, so that what comes next is newer in its eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Integer, bindparam, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app import metrics
from app.services import discovery, internal_names, racks, records, refusals, rollout_start
from app.services.changes import RECORDS, changing, event, follow, touch_machine, touch_racks
from app.services.context import Context
from app.services.errors import Invalid
from app.services.fabrics import NETWORK_LOCK
from app.services.rack_interfaces import attach, checked_interfaces
from app.services.record_applies import Batch, note_batch
from app.store.locks import hold
from app.store.models import (
    Apply,
    Counter,
    Observation,
    Offer,
    Operation,
    PowerOperation,
    Rack,
    RackQuestion,
    RecordChange,
    RecordFailure,
    Vlan,
)
from app.store.prepared import Prepared
from app.store.queries.scopes import scopes_of_rack
from app.store.unit_of_work import after_commit
from renderers import registry

log = structlog.get_logger(__name__)
_RACK_ID = bindparam("rack_id", type_=Integer)
_NEWEST = Prepared(
    select(
        select(Rack.offer_number).where(Rack.id == _RACK_ID).scalar_subquery().label("offer"),
        select(Counter.value).where(Counter.name == RECORDS).scalar_subquery().label("records"),
        select(func.max(PowerOperation.id)).where(PowerOperation.rack_id == _RACK_ID).scalar_subquery().label("power"),
        select(func.max(RackQuestion.id)).where(RackQuestion.rack_id == _RACK_ID).scalar_subquery().label("questions"),
    )
)
OUTCOMES = ("kept", "undone", "failed", "unchanged")


def apply(
    context: Context,
    rack_id: int,
    *,
    offer: int,
    service: str,
    outcome: str,
    stage: str,
    reason: str | None = None,
    digest: str | None = None,
    seconds: dict[str, Any] | None = None,
    probes: list[Any] | None = None,
    undone_ok: bool | None = None,
) -> None:
    """Keep how one service of an offer went; a failure is also an event that people see."""
    if outcome not in OUTCOMES:
        raise Invalid(f"outcome {outcome!r}: there are {', '.join(OUTCOMES)}", field="outcome")
    with changing(context) as session:
        rack = racks.rack_row(session, rack_id)
        # Our own word for what the offer came of, not the rack's.
        asked = select(Offer.request_id).where(Offer.rack_id == rack_id, Offer.number == offer)
        request_id = session.scalar(asked)
        follow(session, request_id)
        row = Apply(
            rack_id=rack_id,
            offer_number=offer,
            service=service,
            outcome=outcome,
            stage=stage,
            reason=reason,
            digest=digest,
            undone_ok=undone_ok,
            seconds=seconds or {},
            probes=probes or [],
            request_id=request_id,
            at=context.clock(),
        )
        session.add(row)
        rack.seen_at = context.clock()
        said = {"rack": rack.name, "offer": offer, "service": service, "outcome": outcome, "stage": stage}
        log.info("rack.applied", **said, reason=reason, request_id=request_id)
        after_commit(session, lambda: _count(service, outcome, seconds or {}, probes or []))
        if outcome in refusals.REFUSED:
            session.flush()
            refusal = refusals.of_apply(session, rack.name, row)
            event(
                session,
                context,
                "rack.apply.failed",
                f"{refusal.title}: {refusal.reason}. {refusal.put_back} Changed by {refusal.by}.",
                rack_id=rack_id,
                level="error",
                offer=offer,
                service=service,
                stage=stage,
                undone_ok=undone_ok,
                changes=[cause.change_event_id for cause in refusal.causes if cause.change_event_id is not None],
            )


FOUND = ("kea_lease_hook", "kea_host_hook", "postgres_programs", "control_plane_ca")
"""Fields of a rack's layout that it reports anew whenever they change."""


def observation(
    context: Context,
    rack_id: int,
    *,
    offer: int,
    records: int,
    services: dict[str, Any],
    interfaces: list[Any] | None = None,
    layout: dict[str, str] | None = None,
    ha_certificate: str | None = None,
) -> None:
    """Keep what runs on a rack; changed interfaces, or a library or program found or gone, change what it serves.

    layout: what the rack has found on its host, of `FOUND`.
    """
    found = checked_interfaces(interfaces) if interfaces is not None else None
    certificate = _checked_certificate(ha_certificate) if ha_certificate is not None else None
    with changing(context) as session:
        if found is not None:
            hold(session, NETWORK_LOCK)
        hold(session, f"observation:{rack_id}")
        rack = racks.rack_row(session, rack_id)
        now = context.clock()
        was_away = internal_names.is_away(rack, now)
        rack.seen_at = now
        if rack.applied_offer != offer:
            _wake_partner(session, context, rack_id)
            if rollout_start.is_open(session, rack_id):
                after_commit(session, partial(context.ring.reconcile, rack_id))
        if was_away:
            internal_names.put(session, now)
        rack.applied_offer, rack.applied_records = offer, records
        known = {row.service: row for row in session.scalars(select(Observation).where(Observation.rack_id == rack_id))}
        for name, said in services.items():
            row = known.pop(name, None)
            if row is None:
                row = Observation(rack_id=rack_id, service=name)
                session.add(row)
            row.digest, row.running = said.get("digest"), bool(said.get("running"))
            row.probes_ok, row.detail, row.at = said.get("probes_ok"), said.get("detail"), now
        for row in known.values():
            session.delete(row)
        _raise_numbers(session, context, rack, offer, records)
        news = {name: path for name, path in (layout or {}).items() if path != rack.layout.get(name, "")}
        if news:
            rack.layout = racks.checked_layout({**rack.layout, **news})
            touch_racks(session, [rack_id])
        if certificate is not None and certificate != rack.ha_certificate:
            rack.ha_certificate = certificate
            touch_racks(session, session.scalars(select(Rack.id)))
        if found is not None and found != rack.interfaces:
            rack.interfaces = found
            session.flush()
            discovery.of_rack(session, context, rack)
            attach(session, context, rack)
            touch_racks(session, [rack_id])
            event(
                session,
                context,
                "rack.interfaces",
                f"The interfaces of rack {rack.name} have changed.",
                rack_id=rack_id,
            )


def records_applied(
    context: Context,
    rack_id: int,
    applied: int,
    failed: list[dict[str, Any]],
    mended: Sequence[dict[str, Any]] = (),
    batch: Batch | None = None,
) -> None:
    """Keep up to which sequence a rack's records are live and which it could not apply; operations that wait go on.

    mended: failures reported before that have come right since, as the rack tries for some minutes; they are withdrawn.
    batch: how the batch went of which this is told, if it changed anything.
    """
    with changing(context) as session:
        rack = racks.rack_row(session, rack_id)
        now = context.clock()
        rack.seen_at = now
        before, rack.applied_records = rack.applied_records, applied
        if batch is not None and batch.count:
            note_batch(session, context, rack_id, batch, len(failed))
        _raise_numbers(session, context, rack, rack.applied_offer, applied)
        _forget_failures(session, rack_id, before, applied)
        _withdraw(session, context, rack, mended)
        failed = _unknown(session, rack_id, failed)
        authors = _authors(session, [item["sequence"] for item in failed])
        after_commit(session, lambda: metrics.RECORD_FAILURES.inc(len(failed)))
        for item in failed:
            actor = authors.get(item["sequence"])
            session.add(
                RecordFailure(
                    rack_id=rack_id,
                    sequence=item["sequence"],
                    scope=item["scope"],
                    key=item["key"],
                    reason=item["reason"],
                    actor=actor,
                    at=now,
                )
            )
            event(
                session,
                context,
                "rack.record.failed",
                f"Rack {rack.name} could not apply {item['key']} in {item['scope']}: {item['reason']}."
                f" What was there before is served. Changed by {actor or 'somebody unknown'}.",
                rack_id=rack_id,
                level="error",
                sequence=item["sequence"],
            )
        if applied > before or mended:
            waiting = select(Operation.machine_id).where(
                Operation.status == "running", Operation.step.contains("record")
            )
            for machine_id in session.scalars(waiting):
                touch_machine(session, machine_id)


def newest(context: Context, rack_id: int) -> dict[str, int]:
    """The highest numbers there are for a rack: offer, records, power orders, questions. Four reads by index in one statement.

    Each waiting rack has this asked ten times a second.
    """
    row: Any = context.store.row(_NEWEST, rack_id=rack_id)
    return {name: number or 0 for name, number in row._asdict().items()}


def observations(context: Context, rack_id: int) -> list[Observation]:
    """The newest word of a rack about each of its services, by name."""
    with context.store.read() as session:
        racks.rack_row(session, rack_id)
        statement = select(Observation).where(Observation.rack_id == rack_id).order_by(Observation.service)
        return list(session.scalars(statement))


def applies(context: Context, rack_id: int, limit: int = 100) -> list[Apply]:
    """How the last offers went on a rack, newest first."""
    with context.store.read() as session:
        statement = select(Apply).where(Apply.rack_id == rack_id).order_by(Apply.id.desc()).limit(min(limit, 500))
        return list(session.scalars(statement))


def _unknown(session: Session, rack_id: int, failed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those failures that are not known yet: a rack that starts tells all it has."""
    if not failed:
        return []
    statement = select(RecordFailure.sequence, RecordFailure.scope, RecordFailure.key).where(
        RecordFailure.rack_id == rack_id, RecordFailure.sequence.in_([item["sequence"] for item in failed])
    )
    known = {tuple(row) for row in session.execute(statement)}
    return [item for item in failed if (item["sequence"], item["scope"], item["key"]) not in known]


def _wake_partner(session: Session, context: Context, rack_id: int) -> None:
    """Have the other rack of a pair looked at, which may wait for this one."""
    statement = (
        select(Vlan.rack_id, Vlan.secondary_rack_id)
        .where(Vlan.secondary_rack_id.is_not(None), or_(Vlan.rack_id == rack_id, Vlan.secondary_rack_id == rack_id))
        .limit(1)
    )
    for partner_id in {one for row in session.execute(statement) for one in row} - {rack_id}:
        after_commit(session, partial(context.ring.reconcile, partner_id))


def _checked_certificate(text: str) -> str:
    """The one certificate (PEM) in its canonical form. Invalid when it is none."""
    try:
        return x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.PEM).decode()
    except ValueError as error:
        raise Invalid(f"ha_certificate: it is no certificate in PEM form: {error}", field="ha_certificate") from error


def _authors(session: Session, sequences: list[int]) -> dict[int, str | None]:
    """Whose words record changes were, by sequence."""
    if not sequences:
        return {}
    statement = select(RecordChange.sequence, RecordChange.actor).where(RecordChange.sequence.in_(sequences))
    return {row.sequence: row.actor for row in session.execute(statement)}


def _count(service: str, outcome: str, seconds: dict[str, Any], probes: list[Any]) -> None:
    """Count an apply; a rack's words make no labels of their own."""
    name = metrics.known(service, {spec.name for spec in registry.services()})
    metrics.APPLIES.labels(name, outcome).inc()
    for stage in metrics.STAGES:
        if isinstance(value := seconds.get(stage), (int, float)):
            metrics.APPLY_SECONDS.labels(name, stage).observe(value)
    for probe in probes:
        green = isinstance(probe, dict) and probe.get("ok") is True
        metrics.PROBES.labels(name, "green" if green else "red").inc()


def _forget_failures(session: Session, rack_id: int, before: int, applied: int) -> None:
    """Failures of keys that have had a newer word since, which the rack has now applied, are history."""
    newer = (
        select(RecordChange.sequence)
        .where(
            RecordChange.scope == RecordFailure.scope,
            RecordChange.key == RecordFailure.key,
            RecordChange.sequence > RecordFailure.sequence,
            RecordChange.sequence <= applied,
        )
        .exists()
    )
    session.execute(
        delete(RecordFailure)
        .where(RecordFailure.rack_id == rack_id, newer)
        .execution_options(synchronize_session=False)
    )


def _withdraw(session: Session, context: Context, rack: Rack, mended: Sequence[dict[str, Any]]) -> None:
    """Take back the rack's failures of these records, and say so of each that there was."""
    told = {(item["sequence"], item["scope"], item["key"]) for item in mended}
    statement = select(RecordFailure).where(
        RecordFailure.rack_id == rack.id, RecordFailure.sequence.in_([item["sequence"] for item in mended])
    )
    for row in session.scalars(statement) if told else ():
        if (row.sequence, row.scope, row.key) in told:
            session.delete(row)
            message = f"Rack {rack.name} serves {row.key} in {row.scope} now, after it had failed: {row.reason}."
            event(session, context, "rack.record.mended", message, rack_id=rack.id, sequence=row.sequence)


def _raise_numbers(session: Session, context: Context, rack: Rack, offer: int, sequence: int) -> None:
    """Raise our numbers above the rack's, and send it its records anew: its own may be of a future that was lost."""
    raised = []
    if offer > rack.offer_number:
        rack.offer_number = offer
        raised.append(f"offers to {offer}")
    counter = session.get(Counter, RECORDS)
    if sequence > (counter.value if counter is not None else 0):
        if counter is None:
            session.add(Counter(name=RECORDS, value=sequence))
            session.flush()
        session.execute(update(Counter).where(Counter.name == RECORDS, Counter.value < sequence).values(value=sequence))
        for scope in scopes_of_rack(session, rack.id):
            records.resend_scope(session, scope)
        raised.append(f"records to {sequence}")
    if raised:
        touch_racks(session, [rack.id])
        event(
            session,
            context,
            "rack.numbers.raised",
            f"Rack {rack.name} knows higher numbers than the database, which was probably restored: raised"
            f" {' and '.join(raised)}.",
            rack_id=rack.id,
            level="warning",
        )
