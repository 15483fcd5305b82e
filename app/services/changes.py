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

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from app.services.context import Context
from app.store.models import ChangeEvent, Counter, Event, Rack, RecordChange, Vlan
from app.store.unit_of_work import after_commit

RECORDS = "records"
_RECORDS, _RACKS, _MACHINES = "muster.records", "muster.racks", "muster.machines"
_EVENTS, _AUDIT, _NUMBERED = "muster.events", "muster.audit", "muster.numbered"
_WRITE_AUDIT, _WRITE_EVENTS, _WRITE_CHANGES = insert(ChangeEvent), insert(Event), insert(RecordChange)
_COUNT_RECORDS = (
    update(Counter)
    .where(Counter.name == RECORDS)
    .values(value=Counter.value + bindparam("count"))
    .returning(Counter.value)
)


@contextmanager
def changing(context: Context) -> Iterator[Session]:
    """One transaction in which desired state may change; rings go out after it has committed."""
    with context.store.write() as session:
        yield session
        _write_journal(session)  # Before the flush: what is said of a row goes before the row does.
        session.flush()
        _write_records(session, context)
        _raise_generations(session, context)
        for machine_id in sorted(session.info.pop(_MACHINES, set())):
            after_commit(session, partial(context.ring.advance, machine_id))


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
            "at": context.clock(),
        }
    )


def said(session: Session, message: str) -> bool:
    """Whether this transaction writes an event of this message, which no query finds before its end."""
    return any(row["message"] == message for row in session.info.get(_EVENTS, ()))


def put_record(session: Session, scope: str, key: str, value: dict[str, Any] | None) -> None:
    """Note one host or RRset as it should be from now on; None takes it away. The last word on a key in a transaction wins."""
    session.info.setdefault(_RECORDS, {})[(scope, key)] = value


def awaits_records(session: Session) -> bool:
    """Whether records are noted that have no sequence yet; they get one at the end of the transaction."""
    return bool(session.info.get(_RECORDS))


def when_numbered(session: Session, call: Callable[[int], None]) -> None:
    """Have `call` note on its rows the last sequence of the records of this transaction, if it has put any."""
    session.info.setdefault(_NUMBERED, []).append(call)


def touch_racks(session: Session, rack_ids: Iterable[int | None]) -> None:
    """Note that the structure these racks serve has changed."""
    session.info.setdefault(_RACKS, set()).update(rack_id for rack_id in rack_ids if rack_id is not None)


def touch_machine(session: Session, machine_id: int) -> None:
    """Note that a machine's operation should be looked at."""
    session.info.setdefault(_MACHINES, set()).add(machine_id)


def _write_journal(session: Session) -> None:
    """Write what was said in the transaction, in the order in which it was said."""
    for name, statement in ((_AUDIT, _WRITE_AUDIT), (_EVENTS, _WRITE_EVENTS)):
        rows = session.info.pop(name, None)
        if rows:
            session.connection().execute(statement, rows)


def _write_records(session: Session, context: Context) -> None:
    noted: dict[tuple[str, str], dict[str, Any] | None] = session.info.pop(_RECORDS, {})
    if not noted:
        return
    last = session.connection().execute(_COUNT_RECORDS, {"count": len(noted)}).scalar_one_or_none()
    if last is None:
        session.add(Counter(name=RECORDS, value=len(noted)))
        session.flush()
        last = len(noted)
    now = context.clock()
    first = last - len(noted) + 1
    rows = [
        {"sequence": first + index, "scope": scope, "key": key, "value": value, "at": now}
        for index, ((scope, key), value) in enumerate(noted.items())
    ]
    session.connection().execute(_WRITE_CHANGES, rows)
    for call in session.info.pop(_NUMBERED, ()):
        call(last)
    for name in racks_of_scopes(session, {scope for scope, _ in noted}):
        after_commit(session, partial(context.ring.rack, name))


def racks_of_scopes(session: Session, scopes: set[str]) -> list[str]:
    """Names of the racks that serve any of the scopes: a VLAN's own rack; every rack for a zone."""
    if any(scope.startswith("zone:") for scope in scopes):
        return sorted(session.scalars(select(Rack.name)))
    vlan_ids = [int(scope.removeprefix("vlan:")) for scope in scopes]
    statement = select(Rack.name).join(Vlan, Vlan.rack_id == Rack.id).where(Vlan.id.in_(vlan_ids)).distinct()
    return sorted(session.scalars(statement))


def _raise_generations(session: Session, context: Context) -> None:
    for rack_id in sorted(session.info.pop(_RACKS, set())):
        session.execute(update(Rack).where(Rack.id == rack_id).values(generation=Rack.generation + 1))
        after_commit(session, partial(context.ring.reconcile, rack_id))
