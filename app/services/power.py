"""Power orders: written here, carried out by the power process of the rack that can reach the machine's BMC.

An order is waiting, then claimed by its rack (which gets the BMC's secret for this one operation), then done, failed,
or lost when its deadline passed without an answer.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session, selectinload

from app import metrics
from app.power.base import VERBS
from app.power.registry import drivers
from app.services.changes import audit, changing, event, follow, request_of, touch_machine
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.held import AnyMachine
from app.services.racks import KnownRack
from app.store.models import Bmc, Machine, Operation, PowerOperation, Rack
from app.store.prepared import Prepared
from app.store.unit_of_work import after_commit

CLAIM_SECONDS = 120
OPERATION_SECONDS = 60
GRACE_SECONDS = 15
LONGEST_SECONDS = max(CLAIM_SECONDS, OPERATION_SECONDS + GRACE_SECONDS)
"""The deadline of an order is never set further ahead."""
KEEP_QUERIES_SECONDS = 3600
POWER_STATES = ("on", "off", "unknown", "error")
MANUAL = "manual"
_RACK = Prepared(select(Rack.id, Rack.name).where(Rack.id == bindparam("rack_id")))
_WRITE_ORDER = Prepared(
    insert(PowerOperation).returning(PowerOperation.id),
    *("machine_id", "operation_id", "rack_id", "verb", "status", "request_id", "created_at", "deadline_at"),
)
_STANDING = Prepared(
    select(PowerOperation.verb, PowerOperation.status, PowerOperation.reason).where(
        PowerOperation.id == bindparam("order_id")
    )
)
_WAKE = Prepared(
    update(Operation)
    .where(Operation.id == bindparam("of_operation"), Operation.status == "running")
    .values(wake_at=bindparam("now"))
)
_FIRST_RACKS = Prepared(select(Rack.id, Rack.name).order_by(Rack.id).limit(2))
_WAITING = Prepared(
    select(PowerOperation.id, PowerOperation.verb, Machine.hostname)
    .join(Machine, Machine.id == PowerOperation.machine_id)
    .where(PowerOperation.rack_id == bindparam("rack_id"), PowerOperation.status == "waiting")
    .order_by(PowerOperation.id)
    .limit(500)
)
_ORDER = Prepared(
    select(
        PowerOperation.id,
        PowerOperation.machine_id,
        PowerOperation.operation_id,
        PowerOperation.rack_id,
        PowerOperation.verb,
        PowerOperation.request_id,
    ).where(PowerOperation.id == bindparam("order_id"))
)
_CLAIM = Prepared(
    update(PowerOperation)
    .where(
        PowerOperation.id == bindparam("order_id"),
        PowerOperation.status == "waiting",
        PowerOperation.deadline_at > bindparam("now"),
    )
    .values(status="claimed", claimed_at=bindparam("now"), deadline_at=bindparam("answer_by"))
)
_FINISH = Prepared(
    update(PowerOperation)
    .where(
        PowerOperation.id == bindparam("order_id"),
        or_(PowerOperation.status == "waiting", PowerOperation.status == "claimed"),
    )
    .values(
        status=bindparam("new_status"),
        power=bindparam("new_power"),
        reason=bindparam("because"),
        seconds=bindparam("took"),
        finished_at=bindparam("now"),
    )
)
_CONTROLLER = Prepared(
    select(Bmc.id, Bmc.driver, Bmc.parameters, Bmc.secrets, Machine.firmware)
    .join(Machine, Machine.id == Bmc.machine_id)
    .where(Machine.id == bindparam("machine_id"))
)
_SWITCHED = Prepared(
    select(Machine.id, Machine.hostname, Machine.power_state, Bmc.driver)
    .outerjoin(Bmc, Bmc.machine_id == Machine.id)
    .where(Machine.id == bindparam("machine_id"))
)
_SEEN = Prepared(update(Machine).where(Machine.id == bindparam("of_machine")).values(power_checked_at=bindparam("now")))
_CHANGED = Prepared(
    update(Machine)
    .where(Machine.id == bindparam("of_machine"))
    .values(power_checked_at=bindparam("now"), power_state=bindparam("new_power"), version=Machine.version + 1)
)


class Standing(NamedTuple):
    """What has become of an order."""

    verb: str
    status: str
    reason: str | None


class Order(NamedTuple):
    """What an order says."""

    id: int
    machine_id: int
    operation_id: int | None
    rack_id: int | None
    verb: str
    request_id: str | None


class Controller(NamedTuple):
    """A BMC as it is driven, its secrets sealed; with its machine's firmware."""

    id: int
    driver: str
    parameters: dict[str, Any]
    secrets: str | None
    firmware: str | None


class Switched(NamedTuple):
    """A machine that was switched or asked, and its BMC's driver."""

    id: int
    hostname: str
    power_state: str
    driver: str | None


def has_controller(machine: AnyMachine) -> bool:
    """Whether a rack can switch the machine: it has a BMC that is not a person."""
    return machine.bmc is not None and machine.bmc.driver != MANUAL


def request(context: Context, machine_id: int, verb: str) -> PowerOperation:
    """Have a rack switch or query a machine, because a person asked. Conflict while an operation is under way."""
    context.require("operator", "switch machines")
    if verb not in VERBS:
        raise Invalid(f"power verb {verb!r}: there are {', '.join(VERBS)}", field="verb")
    with changing(context) as session:
        machine = session.get(Machine, machine_id, options=[selectinload(Machine.bmc)])
        if machine is None:
            raise NotFound(f"machine {machine_id}: there is no such machine; look at the list of machines")
        if machine.state.endswith("ING") and not machine.state.startswith("FAILED") and verb != "query":
            raise Conflict(
                f"{machine.hostname} is {machine.state.lower()}: switching it now would break that; abort it first",
                remedy="abort the running operation",
            )
        if machine.owner_id not in (None, context.actor.user_id) and verb != "query":
            context.require("admin", f"switch {machine.hostname}, which belongs to someone else")
        if not has_controller(machine):
            raise Conflict(
                f"{machine.hostname} has no BMC that Muster can reach, so a person must switch it; set its power driver",
                field="power_driver",
            )
        audit(session, context, f"power {verb}", "machine", machine.id)
        return session.get_one(PowerOperation, order(session, context, machine, verb))


def orders(context: Context, ids: Sequence[int]) -> list[PowerOperation]:
    """Those of these orders that are there."""
    context.require("viewer", "see power orders")
    with context.store.read() as session:
        return list(session.scalars(select(PowerOperation).where(PowerOperation.id.in_(ids))))


def order(session: Session, context: Context, machine: AnyMachine, verb: str, operation_id: int | None = None) -> int:
    """Write one power order and wake its rack; the order's id. Conflict when no rack serves the machine's BMC."""
    rack = rack_of(session, machine)
    if rack is None:
        raise Conflict(
            f"{machine.hostname}: no rack serves its BMC; enrol a rack, or set the machine's rack if there are several"
        )
    now = context.clock()
    values = {
        "machine_id": machine.id,
        "operation_id": operation_id,
        "rack_id": rack.id,
        "verb": verb,
        "status": "waiting",
        "request_id": request_of(session),
        "created_at": now,
        "deadline_at": now + dt.timedelta(seconds=CLAIM_SECONDS),
    }
    order_id = int(_WRITE_ORDER.one(session, **values)[0])
    after_commit(session, partial(context.wake_rack, rack.name))
    return order_id


def standing(session: Session, order_id: int) -> Standing:
    """What has become of an order."""
    return Standing(*_STANDING.one(session, order_id=order_id))


def rack_of(session: Session, machine: AnyMachine) -> KnownRack | None:
    """The rack that reaches the machine's BMC: the one it enlisted through, else the only one there is."""
    asked = machine.rack_id is not None
    rows = _RACK.all(session, rack_id=machine.rack_id) if asked else _FIRST_RACKS.all(session)
    return KnownRack(rows[0].id, rows[0].name) if len(rows) == 1 else None


def waiting(context: Context, rack_id: int) -> list[dict[str, Any]]:
    """Orders that this rack has not claimed yet, oldest first."""
    with context.store.read() as session:
        rows = _WAITING.all(session, rack_id=rack_id)
    return [{"id": id_, "machine": hostname, "verb": verb} for id_, verb, hostname in rows]


def claim(context: Context, rack_id: int, operation_id: int) -> dict[str, Any]:
    """Take one order: what to do, with the driver's parameters and secrets. Conflict when it was taken already."""
    with changing(context) as session:
        row = _of_rack(session, rack_id, operation_id)
        now = context.clock()
        deadline = now + dt.timedelta(seconds=OPERATION_SECONDS + GRACE_SECONDS)
        if not _CLAIM.run(session, order_id=row.id, now=now, answer_by=deadline):
            raise Conflict(f"power operation {operation_id}: it is not waiting any more; fetch the list again")
        bmc = controller_of(session, row.machine_id)
        if bmc is None:
            raise Conflict(f"power operation {operation_id}: its machine has no BMC any more; fetch the list again")
        if bmc.secrets and not (row.verb == "query" and _asks_regularly(session, row)):
            audit(
                session,
                context,
                "fetch credentials",
                "bmc",
                bmc.id,
                machine_id=row.machine_id,
                rack_id=rack_id,
                order=row.id,
                power=row.verb,
            )
        return {
            "id": row.id,
            "verb": row.verb,
            "driver": bmc.driver,
            "parameters": parameters_of(context, bmc),
            "deadline_seconds": OPERATION_SECONDS,
            "request_id": row.request_id,
        }


def _asks_regularly(session: Session, row: Order) -> bool:
    """Whether this rack has lately been given the same credentials to ask for the power state.

    Every machine is asked every few minutes, so of such a series the first claim is written to the audit and not each:
    a series ends when a rack has not asked for `KEEP_QUERIES_SECONDS`.
    """
    earlier = select(PowerOperation.id).where(
        PowerOperation.machine_id == row.machine_id,
        PowerOperation.rack_id == row.rack_id,
        PowerOperation.verb == "query",
        PowerOperation.claimed_at.is_not(None),
        PowerOperation.id < row.id,
    )
    return session.scalar(earlier.limit(1)) is not None


def controller_of(session: Session, machine_id: int) -> Controller | None:
    """The machine's BMC; None when it has none."""
    row = _CONTROLLER.first(session, machine_id=machine_id)
    return None if row is None else Controller(*row)


def parameters_of(context: Context, bmc: Controller) -> dict[str, str]:
    """All parameters of the BMC's driver, secrets included: for the rack that carries out one operation only."""
    secret: dict[str, str] = json.loads(context.secrets.open(bmc.secrets)) if bmc.secrets else {}
    full = {name: str(value) for name, value in (bmc.parameters | secret).items()}
    known = {parameter.name for parameter in drivers()[bmc.driver].parameters} if bmc.driver in drivers() else set()
    if "firmware" in known and "firmware" not in full and bmc.firmware:
        full["firmware"] = bmc.firmware
    return full


def finish(
    context: Context,
    rack_id: int,
    operation_id: int,
    ok: bool,
    power: str,
    reason: str | None,
    seconds: float | None,
) -> None:
    """The rack's answer. A second answer, or one after the order was called lost, changes nothing but the power state."""
    if power not in POWER_STATES:
        raise Invalid(f"power state {power!r}: there are {', '.join(POWER_STATES)}", field="power")
    with changing(context) as session:
        row = _of_rack(session, rack_id, operation_id)
        follow(session, row.request_id)
        now = context.clock()
        status = "done" if ok else "failed"
        said = {"new_status": status, "new_power": power, "because": reason, "took": seconds, "now": now}
        is_first = _FINISH.run(session, order_id=row.id, **said) > 0
        if is_first and row.operation_id is not None:
            # The sweep finds it, should the ring be lost or its worker be killed.  Operation before machine, as all do.
            _WAKE.run(session, of_operation=row.operation_id, now=now)
        machine = Switched(*_SWITCHED.one(session, machine_id=row.machine_id))
        if row.verb != "pxe" or power in ("on", "off"):
            _note_power(session, context, machine, power)
        if not is_first:
            return
        driver = metrics.known(machine.driver or "", drivers())
        after_commit(session, partial(_count, driver, row.verb, status, seconds))
        if not ok or row.verb != "query":
            message = f"Power {row.verb} of {machine.hostname} " + ("is done." if ok else f"failed: {reason}")
            level = "info" if ok else "warning"
            event(session, context, "machine.power", message, machine_id=machine.id, level=level, verb=row.verb)
        if row.operation_id is not None:
            touch_machine(session, machine.id)


def _count(driver: str, verb: str, outcome: str, seconds: float | None) -> None:
    metrics.POWER.labels(driver, verb, outcome).inc()
    if seconds is not None:
        metrics.POWER_SECONDS.labels(driver).observe(seconds)


def _note_power(session: Session, context: Context, machine: Switched, power: str) -> None:
    if machine.power_state == power:
        _SEEN.run(session, of_machine=machine.id, now=context.clock())
        return
    _CHANGED.run(session, of_machine=machine.id, now=context.clock(), new_power=power)
    message = f"The power of {machine.hostname} is {power}."
    event(session, context, "machine.power", message, machine_id=machine.id, power=power)


def _of_rack(session: Session, rack_id: int, operation_id: int) -> Order:
    row = _ORDER.first(session, order_id=operation_id)
    if row is None or row.rack_id != rack_id:
        raise NotFound(f"power operation {operation_id}: there is none for this rack; fetch the list again")
    return Order(*row)


def lose(session: Session, context: Context) -> list[int]:
    """Call orders lost whose deadline has passed; the machines whose operations should be looked at."""
    now = context.clock()
    statement = (
        update(PowerOperation)
        .where(PowerOperation.status.in_(("waiting", "claimed")), PowerOperation.deadline_at <= now)
        .values(
            status="lost",
            finished_at=now,
            reason="the rack gave no answer in time; check that its power process runs and reaches the control plane",
        )
        .returning(PowerOperation.machine_id, PowerOperation.operation_id)
        .execution_options(synchronize_session=False)
    )
    lost = session.execute(statement).all()
    after_commit(session, lambda: metrics.POWER.labels(metrics.OTHER, metrics.OTHER, "lost").inc(len(lost)))
    return sorted({machine_id for machine_id, operation_id in lost if operation_id is not None})


def poll(session: Session, context: Context, older_than_seconds: int, limit: int) -> int:
    """Order a query of the machines whose power was not seen for longest; how many were asked."""
    before = context.clock() - dt.timedelta(seconds=older_than_seconds)
    pending = select(PowerOperation.id).where(
        PowerOperation.machine_id == Machine.id, PowerOperation.created_at > before
    )
    statement = (
        select(Machine)
        .join(Bmc)
        .where(Bmc.driver != MANUAL, ~pending.exists())
        .where(Machine.power_checked_at.is_(None) | (Machine.power_checked_at <= before))
        .order_by(Machine.power_checked_at, Machine.id)
        .limit(limit)
    )
    only = session.scalars(select(Rack.id).order_by(Rack.id).limit(2)).all()
    asked = 0
    for machine in session.scalars(statement).all():
        if machine.rack_id is not None or len(only) == 1:
            order(session, context, machine, "query")
            asked += 1
    if asked:
        _forget_queries(session, context)
    return asked


def _forget_queries(session: Session, context: Context) -> None:
    """Delete old answers to our own questions; the newest order stays, since racks compare with its number."""
    newest = select(func.max(PowerOperation.id)).scalar_subquery()
    statement = delete(PowerOperation).where(
        PowerOperation.verb == "query",
        PowerOperation.status.in_(("done", "failed", "lost")),
        PowerOperation.operation_id.is_(None),
        PowerOperation.finished_at < context.clock() - dt.timedelta(seconds=KEEP_QUERIES_SECONDS),
        PowerOperation.id < newest,
    )
    session.execute(statement.execution_options(synchronize_session=False))
