"""The one place where a machine's state changes, and what every change of state entails.

Entering a state ends every boot token that the machine had: a token lives no longer than the state it was made for.
Entering READY or ALLOCATED frees the machine's addresses, READY also takes it from its owner.
Callers hold the machine's row: a running operation locks it through the operation, a request by itself.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NoReturn

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session, joinedload, lazyload, selectinload
from sqlalchemy.orm.attributes import set_committed_value

from app import metrics
from app.lifecycle.states import State
from app.services import addresses, held
from app.services.changes import event
from app.services.context import Context
from app.services.errors import NotFound
from app.services.held import AnyMachine, AnyOperation, HeldMachine, HeldOperation
from app.store.models import BootToken, Interface, Machine, Operation, PowerOperation, User
from app.store.prepared import Prepared
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
_IS_RUNNING = (Operation.machine_id == bindparam("machine_id"), Operation.status == "running")
_RUNNING = select(Operation).where(*_IS_RUNNING).with_for_update(key_share=True)
_REVOKE = Prepared(
    update(BootToken)
    .where(BootToken.machine_id == bindparam("of_machine"), BootToken.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
_WITHDRAW = Prepared(
    update(PowerOperation)
    .where(PowerOperation.operation_id == bindparam("of_operation"), PowerOperation.status == "waiting")
    .values(status="failed", finished_at=bindparam("now"), reason=bindparam("because"))
)
_KEPT = (
    *("status", "step", "step_index", "step_data", "step_started_at", "progress"),
    *("wake_at", "deadline_at", "reason", "finished_at"),
)
_KEEP = Prepared(
    update(Operation)
    .where(Operation.id == bindparam("of_operation"))
    .values({name: bindparam(f"new_{name}") for name in _KEPT})
)
LEVELS = {True: "error", False: "info"}


def locked(session: Session, machine_id: int, *, bare: bool = False) -> Machine:
    """The machine with its row locked until the transaction ends. NotFound if there is none.

    bare: only the row, for callers that do not hand the machine on; what they touch is loaded when they touch it.
    """
    machine = session.scalars(_BARE if bare else _WHOLE, {"machine_id": machine_id}).one_or_none()
    return machine or _missing(machine_id)


def taken(session: Session, machine_id: int) -> HeldMachine:
    """The machine with its row locked, as plain values. NotFound if there is none."""
    return held.machine(session, machine_id) or _missing(machine_id)


def _missing(machine_id: int) -> NoReturn:
    raise NotFound(f"machine {machine_id}: there is no such machine; look at the list of machines")


def running(session: Session, machine_id: int) -> Operation | None:
    """The machine's running operation, locked; None when there is none."""
    return session.scalars(_RUNNING, {"machine_id": machine_id}).one_or_none()


def keep(session: Session, operation: HeldOperation) -> None:
    """Write where a held operation stands."""
    values = {f"new_{name}": getattr(operation, name) for name in _KEPT}
    _KEEP.run(session, of_operation=operation.id, **values)


def enter(
    session: Session,
    context: Context,
    machine: AnyMachine,
    state: State,
    reason: str | None = None,
    owner_id: int | None = None,
) -> None:
    """Put the machine into `state`, with what that entails, and say so in its timeline. owner_id: whose it is from now on."""
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
    if state is State.READY or owner_id is not None:
        values["owner_id"] = owner_id
        if isinstance(machine, Machine):
            set_committed_value(machine, "owner", None if owner_id is None else session.get_one(User, owner_id))
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
def _writing(names: tuple[str, ...]) -> Prepared:
    """The statement that writes these columns; there are a handful of such sets."""
    return Prepared(
        update(Machine)
        .where(Machine.id == bindparam("of_machine"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )


def write(session: Session, machine: AnyMachine, values: dict[str, Any]) -> None:
    """Write columns of a locked machine at once, at a fraction of what a flush costs; the object has them too."""
    given = {f"new_{name}": value for name, value in values.items()}
    _writing(tuple(values)).run(session, of_machine=machine.id, **given)
    if isinstance(machine, HeldMachine):
        vars(machine).update((name, value) for name, value in values.items() if name in vars(machine))
    else:
        for name, value in values.items():
            set_committed_value(machine, name, value)


def revoke(session: Session, context: Context, machine_id: int) -> None:
    """End the machine's boot tokens."""
    _REVOKE.run(session, of_machine=machine_id, now=context.clock())


def count(action: str, status: str, seconds: float) -> None:
    """Count an operation that ended."""
    metrics.OPERATIONS.labels(action, status).inc()
    metrics.OPERATION_SECONDS.labels(action, status).observe(max(0.0, seconds))


def end(session: Session, context: Context, operation: AnyOperation, status: str, reason: str | None = None) -> None:
    """Close a running operation: succeeded, failed or aborted. Power orders that no rack has taken are withdrawn."""
    now = context.clock()
    operation.status, operation.reason, operation.finished_at = status, reason, now
    operation.wake_at = operation.deadline_at = None
    after_commit(session, partial(count, operation.action, status, (now - operation.started_at).total_seconds()))
    because = f"withdrawn: the operation {operation.action} has {status}"
    _WITHDRAW.run(session, of_operation=operation.id, now=now, because=because)
