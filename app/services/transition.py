"""The one place where a machine's state changes, and what every change of state entails.

Entering a state ends every boot token that the machine had: a token lives no longer than the state it was made for.
Entering READY or ALLOCATED frees the machine's addresses, READY also takes it from its owner.
Callers hold the machine's row: a running operation locks it through the operation, a request by itself.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from sqlalchemy import Update, bindparam, select, update
from sqlalchemy.orm import Session, defer, joinedload, lazyload, selectinload
from sqlalchemy.orm.attributes import set_committed_value

from app import metrics
from app.lifecycle.states import State
from app.services import addresses
from app.services.changes import event
from app.services.context import Context
from app.services.errors import NotFound
from app.store.models import BootToken, Interface, Machine, Operation, PowerOperation, User
from app.store.unit_of_work import after_commit

LOADED = (
    selectinload(Machine.interfaces).selectinload(Interface.addresses),
    joinedload(Machine.bmc),
    joinedload(Machine.owner),
    joinedload(Machine.domain, innerjoin=True),
    joinedload(Machine.zone, innerjoin=True),
    joinedload(Machine.pool, innerjoin=True),
    selectinload(Machine.tags),
)
"""What people and renderers need of a machine, in a constant number of queries."""

_LOCKED = select(Machine).where(Machine.id == bindparam("machine_id")).with_for_update(of=Machine, key_share=True)
_WHOLE, _BARE = _LOCKED.options(*LOADED), _LOCKED.options(lazyload("*"))
_WITH_CONTROLLER = _LOCKED.options(joinedload(Machine.bmc), lazyload(Machine.domain), defer(Machine.inventory))
_IS_RUNNING = (Operation.machine_id == bindparam("machine_id"), Operation.status == "running")
_RUNNING = select(Operation).where(*_IS_RUNNING).with_for_update(key_share=True)
_TAKEN = select(Operation).where(*_IS_RUNNING).with_for_update(skip_locked=True, key_share=True)
_REVOKE = (
    update(BootToken)
    .where(BootToken.machine_id == bindparam("of_machine"), BootToken.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
_WITHDRAW = (
    update(PowerOperation)
    .where(PowerOperation.operation_id == bindparam("of_operation"), PowerOperation.status == "waiting")
    .values(status="failed", finished_at=bindparam("now"), reason=bindparam("because"))
)
_KEPT = (
    *("status", "step", "step_index", "step_data", "step_started_at", "progress"),
    *("wake_at", "deadline_at", "reason", "finished_at"),
)
_KEEP = (
    update(Operation)
    .where(Operation.id == bindparam("of_operation"))
    .values({name: bindparam(f"new_{name}") for name in _KEPT})
)
LEVELS = {True: "error", False: "info"}


def locked(session: Session, machine_id: int, *, bare: bool = False, controller: bool = False) -> Machine:
    """The machine with its row locked until the transaction ends. NotFound if there is none.

    bare: only the row, for callers that do not hand the machine on; what they touch is loaded when they touch it.
    controller: the row and its BMC, in the same way.
    """
    statement = _BARE if bare else _WITH_CONTROLLER if controller else _WHOLE
    machine = session.scalars(statement, {"machine_id": machine_id}).one_or_none()
    if machine is None:
        raise NotFound(f"machine {machine_id}: there is no such machine; look at the list of machines")
    return machine


def running(session: Session, machine_id: int) -> Operation | None:
    """The machine's running operation, locked; None when there is none."""
    return session.scalars(_RUNNING, {"machine_id": machine_id}).one_or_none()


def taken(session: Session, machine_id: int) -> Operation | None:
    """The machine's running operation for the worker that takes it on, locked; None also when another worker has it.

    The session does not watch it: what changes in it is written by `keep`, at a fraction of what a flush costs.
    """
    operation = session.scalars(_TAKEN, {"machine_id": machine_id}).one_or_none()
    if operation is not None:
        session.expunge(operation)
    return operation


def keep(session: Session, operation: Operation) -> None:
    """Write where a taken operation stands."""
    values = {f"new_{name}": getattr(operation, name) for name in _KEPT}
    session.connection().execute(_KEEP, values | {"of_operation": operation.id})


def enter(
    session: Session,
    context: Context,
    machine: Machine,
    state: State,
    reason: str | None = None,
    owner: User | None = None,
) -> None:
    """Put the machine into `state`, with what that entails, and say so in its timeline. owner: who has it from now on."""
    before = machine.state
    values: dict[str, Any] = {
        "state": state.value,
        "state_reason": reason,
        "state_since": context.clock(),
        "version": machine.version + 1,
    }
    revoke(session, context, machine.id)
    if state in (State.READY, State.ALLOCATED):
        addresses.free(session, context, machine)
        values |= {"image_id": None, "ssh_host_keys": []}
    if state is State.READY or owner is not None:
        values["owner_id"] = None if owner is None else owner.id
        set_committed_value(machine, "owner", owner)
    write(session, machine, values)
    message = f"{machine.hostname} is {state.label}" + (f": {reason}" if reason else ".")
    event(
        session,
        context,
        "machine.state",
        message,
        machine_id=machine.id,
        level=LEVELS[state.is_failure],
        state=state.value,
        before=before,
    )


@cache
def _writing(names: tuple[str, ...]) -> Update:
    """The statement that writes these columns; there are a handful of such sets."""
    return (
        update(Machine)
        .where(Machine.id == bindparam("of_machine"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )


def write(session: Session, machine: Machine, values: dict[str, Any]) -> None:
    """Write columns of a locked machine at once, at a fraction of what a flush costs; the object has them too."""
    given = {f"new_{name}": value for name, value in values.items()}
    session.connection().execute(_writing(tuple(values)), given | {"of_machine": machine.id})
    for name, value in values.items():
        set_committed_value(machine, name, value)


def revoke(session: Session, context: Context, machine_id: int) -> None:
    """End the machine's boot tokens."""
    session.connection().execute(_REVOKE, {"of_machine": machine_id, "now": context.clock()})


def count(action: str, status: str, seconds: float) -> None:
    """Count an operation that ended."""
    metrics.OPERATIONS.labels(action, status).inc()
    metrics.OPERATION_SECONDS.labels(action, status).observe(max(0.0, seconds))


def end(session: Session, context: Context, operation: Operation, status: str, reason: str | None = None) -> None:
    """Close a running operation: succeeded, failed or aborted. Power orders that no rack has taken are withdrawn."""
    now = context.clock()
    operation.status, operation.reason, operation.finished_at = status, reason, now
    operation.wake_at = operation.deadline_at = None
    after_commit(session, partial(count, operation.action, status, (now - operation.started_at).total_seconds()))
    because = f"withdrawn: the operation {operation.action} has {status}"
    session.connection().execute(_WITHDRAW, {"of_operation": operation.id, "now": now, "because": because})
