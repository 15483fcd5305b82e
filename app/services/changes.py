"""What follows from a change of desired state, written in its transaction: audit, record changes, generations, rings.

`changing(context)` is how a service writes.  What is noted on the session while it is open is carried out at its end,
in one fixed order that all writers share, so that they cannot lock each other out: record sequences first (the
`records` counter row), then rack generations in id order.  Taking the counter last in the transaction makes sequences
grow in commit order: a rack that has read up to a sequence has missed nothing below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog
from sqlalchemy import bindparam, case, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services import rollout_start
from app.services.context import Context
from app.services.errors import Conflict
from app.store.models import ChangeEvent, Counter, Event, Rack, RackChange, RecordChange, Vlan
from app.store.prepared import Prepared
from app.store.queries.serving import racks_of_vlans
from app.store.unit_of_work import after_commit
from app.store.unstorable import is_dangling
from renderers.record_digest import bucket_of, weight

RECORDS = "records"
_RECORDS, _RACKS, _MACHINES = "muster.records", "muster.racks", "muster.machines"
_EVENTS, _AUDIT, _NUMBERED, _AUTHORS = "muster.events", "muster.audit", "muster.numbered", "muster.authors"
_REQUEST, _FIRST = "muster.request", "muster.first"
LONGEST_REQUESTS = 600
"""How many characters of request ids a rack collects between two plans; the first ones are kept."""
_WRITE_AUDIT = Prepared(
    insert(ChangeEvent), "user_id", "actor", "verb", "thing", "thing_id", "detail", "request_id", "at"
)
_WRITE_NAMED_AUDIT = insert(ChangeEvent).returning(ChangeEvent.id, sort_by_parameter_order=True)
_WRITE_EVENTS = Prepared(
    insert(Event), "machine_id", "rack_id", "level", "kind", "message", "detail", "request_id", "at"
)
_WRITE_CHANGES = Prepared(
    insert(RecordChange),
    *("sequence", "scope", "key", "value", "bucket", "weight", "actor", "request_id", "asked_at", "at"),
)
NAMED_CHANGES = 5
"""How many changes of one transaction are remembered behind a rack's generation."""
_COUNT_RECORDS = Prepared(
    update(Counter)
    .where(Counter.name == RECORDS)
    .values(value=Counter.value + bindparam("count"))
    .returning(Counter.value)
)


@contextmanager
def changing(context: Context) -> Iterator[Session]:
    """One transaction in which desired state may change; rings go out after it has committed.

    Conflict when something that the change refers to, its author included, was deleted at the same moment.
    """
    try:
        with context.store.write() as session:
            session.info[_REQUEST] = context.request_id
            yield session
            changes = _write_journal(session)  # Before the flush: what is said of a row goes before the row does.
            session.flush()
            _write_records(session, context)
            _raise_generations(session, context, changes)
            for machine_id in sorted(session.info.pop(_MACHINES, set())):
                after_commit(session, partial(context.ring.advance, machine_id))
    except IntegrityError as error:
        if not is_dangling(error):
            raise
        raise Conflict(
            "something that this refers to, or who asks for it, was deleted or put to use at the same moment;"
            " read again and try again",
            rule="what is referred to exists",
        ) from error


def follow(session: Session, request_id: str | None) -> None:
    """Say, here and in the log, which request the rest of this transaction comes of: an operation's, for a worker."""
    if request_id is not None:
        session.info[_REQUEST] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)


def request_of(session: Session) -> str | None:
    """The request that this transaction comes of."""
    found: str | None = session.info.get(_REQUEST)
    return found


def audit(session: Session, context: Context, verb: str, thing: str, thing_id: int | None, **detail: Any) -> None:
    """Write who did what to which thing, at the end of the transaction. detail must hold no secret."""
    session.info.setdefault(_AUDIT, []).append(
        {
            "user_id": context.actor.user_id,
            "actor": context.actor.name,
            "verb": verb,
            "thing": thing,
            "thing_id": thing_id,
            "detail": detail,
            "request_id": request_of(session),
            "at": context.clock(),
        }
    )


def event(
    session: Session,
    context: Context,
    kind: str,
    message: str,
    *,
    machine_id: int | None = None,
    rack_id: int | None = None,
    level: str = "info",
    **detail: Any,
) -> None:
    """Write what happened to a machine or a rack, for its timeline, at the end of the transaction."""
    session.info.setdefault(_EVENTS, []).append(
        {
            "machine_id": machine_id,
            "rack_id": rack_id,
            "level": level,
            "kind": kind,
            "message": message,
            "detail": detail,
            "request_id": request_of(session),
            "at": context.clock(),
        }
    )


def said(session: Session, message: str) -> bool:
    """Whether this transaction writes an event of this message, which no query finds before its end."""
    return any(row["message"] == message for row in session.info.get(_EVENTS, ()))


def put_record(
    session: Session, scope: str, key: str, value: dict[str, Any] | None, *, author: str | None = None
) -> None:
    """Note one host or RRset as it should be from now on; None takes it away. The last word on a key in a transaction wins.

    author: whose word it is when it is only repeated; the caller's by default.
    """
    session.info.setdefault(_RECORDS, {})[(scope, key)] = value
    session.info.setdefault(_AUTHORS, {})[(scope, key)] = author


def awaits_records(session: Session) -> bool:
    """Whether records are noted that have no sequence yet; they get one at the end of the transaction."""
    return bool(session.info.get(_RECORDS))


def when_numbered(session: Session, call: Callable[[int], None]) -> None:
    """Have `call` note on its rows the last sequence of the records of this transaction, if it has put any."""
    session.info.setdefault(_NUMBERED, []).append(call)


def touch_racks(session: Session, rack_ids: Iterable[int | None]) -> None:
    """Note that the structure these racks serve has changed."""
    session.info.setdefault(_RACKS, set()).update(rack_id for rack_id in rack_ids if rack_id is not None)


def touch_vlans(session: Session, vlan_ids: Iterable[int]) -> None:
    """Note that the structure of these VLANs has changed, on whichever racks serve them at this moment.

    A standby knows all subnets of its partner, so it is touched too.  Where other racks have to take the change as well,
    those of the VLAN take it first.
    """
    racks = {rack_id for found in racks_of_vlans(session, vlan_ids).values() for rack_id in found}
    if racks:
        touch_racks(session, racks)
        session.info.setdefault(_FIRST, set()).update(racks)
        partners = select(Vlan.secondary_rack_id).where(Vlan.rack_id.in_(racks), Vlan.secondary_rack_id.is_not(None))
        touch_racks(session, session.scalars(partners.distinct()))


def touch_machine(session: Session, machine_id: int) -> None:
    """Note that a machine's operation should be looked at."""
    session.info.setdefault(_MACHINES, set()).add(machine_id)


def _write_journal(session: Session) -> list[int | None]:
    """Write what was said in the transaction, in order; ids of the change events if a rack's structure has changed."""
    audits, events = session.info.pop(_AUDIT, None), session.info.pop(_EVENTS, None)
    changes: list[int | None] = []
    if audits and session.info.get(_RACKS):
        changes += session.connection().execute(_WRITE_NAMED_AUDIT, audits).scalars()
    elif audits:
        _WRITE_AUDIT.run_many(session, audits)
    if events:
        _WRITE_EVENTS.run_many(session, events)
    return changes[:NAMED_CHANGES] or [None]


def _write_records(session: Session, context: Context) -> None:
    noted: dict[tuple[str, str], dict[str, Any] | None] = session.info.pop(_RECORDS, {})
    authors: dict[tuple[str, str], str | None] = session.info.pop(_AUTHORS, {})
    if not noted:
        return
    last = _COUNT_RECORDS.value(session, count=len(noted))
    if last is None:
        session.add(Counter(name=RECORDS, value=len(noted)))
        session.flush()
        last = len(noted)
    now = context.clock()
    first = last - len(noted) + 1
    rows = [
        {
            "sequence": first + index,
            "scope": scope,
            "key": key,
            "value": value,
            "bucket": bucket_of(key),
            "weight": weight(key, value),
            "actor": authors[scope, key] or context.actor.name,
            "request_id": request_of(session),
            "asked_at": context.asked_at,
            "at": now,
        }
        for index, ((scope, key), value) in enumerate(noted.items())
    ]
    _WRITE_CHANGES.run_many(session, rows)
    for call in session.info.pop(_NUMBERED, ()):
        call(last)
    if context.made is not None:
        context.made.sequence = last
    for name in racks_of_scopes(session, {scope for scope, _ in noted}):
        after_commit(session, partial(context.wake_rack, name))


def racks_of_scopes(session: Session, scopes: set[str]) -> list[str]:
    """Names of the racks that serve any of the scopes: a VLAN's own racks; every rack for a zone."""
    if any(scope.startswith("zone:") for scope in scopes):
        return sorted(session.scalars(select(Rack.name)))
    vlan_ids = [int(scope.removeprefix("vlan:")) for scope in scopes]
    racks = {rack_id for found in racks_of_vlans(session, vlan_ids).values() for rack_id in found}
    return sorted(session.scalars(select(Rack.name).where(Rack.id.in_(racks)))) if racks else []


def _raise_generations(session: Session, context: Context, changes: list[int | None]) -> None:
    """Raise the generations of the racks noted, and remember behind each which changes and requests it came of."""
    noted = sorted(session.info.pop(_RACKS, ()))
    first = session.info.pop(_FIRST, set())
    if not noted:
        return
    if len(noted) > 1:
        rollout_start.start(session, context, noted, first=first, changes=changes)
    rows = []
    values: dict[str, Any] = {"generation": Rack.generation + 1}
    if (request_id := request_of(session)) is not None:
        values["request_id"] = case(
            (Rack.request_id.is_(None), literal(request_id)),
            (func.length(Rack.request_id) < LONGEST_REQUESTS, Rack.request_id + literal(f" {request_id}")),
            else_=Rack.request_id,
        )
    if len(noted) > 1:  # In id order; an update of many takes them in any.
        mine = select(Rack.id).where(Rack.id.in_(noted)).order_by(Rack.id)
        session.execute(mine.with_for_update(key_share=True))
    raised = update(Rack).where(Rack.id.in_(noted)).values(values).returning(Rack.id, Rack.generation)
    # A rack that was deleted in this transaction is not among them.
    for rack_id, generation in sorted((row[0], row[1]) for row in session.execute(raised)):
        if context.made is not None:
            context.made.generations[rack_id] = generation
        common = {"rack_id": rack_id, "generation": generation, "actor": context.actor.name, "at": context.clock()}
        rows += [{**common, "change_event_id": change} for change in changes]
        after_commit(session, partial(context.ring.reconcile, rack_id))
    if rows:
        session.connection().execute(insert(RackChange), rows)
