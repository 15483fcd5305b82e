"""Lifecycle requests: start a verb on a machine, or abort the one that runs.

The state table (`app.lifecycle`) says what may be asked; here are the rules about who may ask, and the operation's row
is written.  The region worker carries it on from there (`workers.region.lifecycle.runner`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from app.lifecycle.action import Action
from app.lifecycle.states import State
from app.lifecycle.table import ActionRefused, actions, after_abort, check
from app.services import deployment, images, power
from app.services.changes import audit, changing, event, request_of, touch_machine
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.held import AnyMachine, HeldMachine
from app.services.transition import count, end, enter, locked, running, taken
from app.store.models import Interface, Machine, Operation, SshKey, User
from app.store.prepared import Prepared
from app.store.unit_of_work import after_commit

FROM = "from_state"
ABORT = "abort"
USER_DATA_LIMIT = 64 * 1024
_COLUMNS = tuple(column.key for column in Operation.__table__.columns if column.key not in ("id", "reason"))
_WRITE = Prepared(insert(Operation).returning(Operation.id), *_COLUMNS)
_ANY_KEY = Prepared(select(SshKey.id).where(SshKey.user_id == bindparam("user_id")).limit(1))
_NAME = Prepared(select(User.name).where(User.id == bindparam("user_id")))
_INVENTORY = Prepared(select(Machine.inventory).where(Machine.id == bindparam("machine_id")))
_ANY_INTERFACE = Prepared(select(Interface.id).where(Interface.machine_id == bindparam("machine_id")).limit(1))
_TYPES: dict[str, type] = {"str": str, "int": int, "bool": bool, "list": list}


def request(context: Context, machine_id: int, action: str, parameters: Mapping[str, Any] | None = None) -> Operation:
    """Ask for a verb. Conflict when the machine's state does not allow it, Invalid when a parameter is wrong.

    The operation that comes back is running, or (for verbs that need nothing done) succeeded.
    """
    if action == ABORT:
        return abort(context, machine_id)
    if action not in actions():
        raise NotFound(f"action {action!r}: there are {', '.join([*actions(), ABORT])}")
    context.require(actions()[action].role, f"{action} machines")
    given = checked_parameters(actions()[action], parameters or {})
    with changing(context) as session, session.no_autoflush:
        machine = taken(session, machine_id)
        try:
            chosen = check(action, State(machine.state))
        except ActionRefused as refusal:
            raise Conflict(f"{machine.hostname}: {refusal}") from refusal
        require_ownership(context, machine, action)
        warnings = _rules(session, context, machine, chosen, given)
        return start(session, context, machine, chosen, given, warnings)


def start(
    session: Session,
    context: Context,
    machine: AnyMachine,
    action: Action,
    parameters: Mapping[str, Any],
    warnings: list[str] | None = None,
) -> Operation:
    """Begin an action on a locked machine whose state allows it, and write it down."""
    now = context.clock()
    asked_in = State(machine.state)
    instant = action.transient is None or asked_in in action.instant_from
    first = None if instant else next(step for step in action.steps if step.when(parameters))
    values = {
        "machine_id": machine.id,
        "action": action.name,
        "status": "succeeded" if first is None else "running",
        "parameters": {**parameters, FROM: asked_in.value},
        "step": "done" if first is None else first.name,
        "step_index": 0 if first is None else action.steps.index(first),
        "step_started_at": now,
        "step_data": {},
        "signals": {},
        "progress": {"warnings": warnings or []},
        "wake_at": None if first is None else now,
        "deadline_at": None if first is None else now + dt.timedelta(seconds=first.wait_seconds),
        "user_id": context.actor.user_id,
        "request_id": request_of(session),
        "started_at": now,
        "finished_at": now if first is None else None,
    }
    # What was written, for the answer; the session has no part in it.
    operation = Operation(**values, id=_WRITE.one(session, **values)[0])
    owner_id = None
    if action.success in (State.ALLOCATED, State.DEPLOYED) and machine.owner_id is None:
        owner_id = context.actor.user_id
    if first is None or action.transient is None:
        enter(session, context, machine, action.success, parameters.get("comment") or None, owner_id)
        if first is None:
            after_commit(session, lambda: count(action.name, "succeeded", 0.0))
    else:
        enter(session, context, machine, action.transient, owner_id=owner_id)
        touch_machine(session, machine.id)
    audit(session, context, action.name, "machine", machine.id, hostname=machine.hostname)
    for warning in warnings or []:
        event(session, context, "machine.step", warning, machine_id=machine.id, level="warning", step=operation.step)
    return operation


def abort(context: Context, machine_id: int) -> Operation:
    """Stop the running operation: tokens die, the machine is switched off, the state goes where the action says."""
    context.require("operator", "abort operations")
    with changing(context) as session:
        operation = running(session, machine_id)
        machine = locked(session, machine_id)
        if operation is None:
            raise Conflict(f"{machine.hostname} is {State(machine.state).label}: nothing is under way to abort")
        require_ownership(context, machine, ABORT)
        action = actions().get(operation.action)
        after = State.BROKEN if action is None else after_abort(action, State(operation.parameters[FROM]))
        reason = f"{operation.action} was aborted by {context.actor.name} at step {operation.step}"
        end(session, context, operation, "aborted", reason)
        enter(session, context, machine, after, reason)
        if power.has_controller(machine) and power.rack_of(session, machine) is not None:
            power.order(session, context, machine, "off")
        audit(session, context, ABORT, "machine", machine.id, hostname=machine.hostname, action=operation.action)
        return operation


def operations(context: Context, machine_id: int, limit: int = 20) -> list[Operation]:
    """The machine's operations, newest first."""
    with context.store.read() as session:
        statement = select(Operation).where(Operation.machine_id == machine_id).order_by(Operation.id.desc())
        return list(session.scalars(statement.limit(min(limit, 500))))


def some(context: Context, ids: Sequence[int]) -> list[Operation]:
    """Those of these operations that are there."""
    context.require("viewer", "see operations")
    with context.store.read() as session:
        return list(session.scalars(select(Operation).where(Operation.id.in_(ids))))


def checked_parameters(action: Action, given: Mapping[str, Any]) -> dict[str, Any]:
    """The action's parameters with defaults filled in; Invalid names the one that is unknown or of the wrong kind."""
    known = {parameter.name: parameter for parameter in action.parameters}
    unknown = sorted(set(given) - set(known))
    if unknown:
        takes = ", ".join(known) or "none"
        raise Invalid(f"{action.name}: unknown parameter {unknown[0]!r}; it takes: {takes}", field=unknown[0])
    full: dict[str, Any] = {}
    for name, parameter in known.items():
        value = given.get(name, parameter.default)
        value = parameter.default if value is None else value
        wrong_type = not isinstance(value, _TYPES[parameter.type]) or (
            parameter.type == "int" and isinstance(value, bool)
        )
        if wrong_type:
            raise Invalid(f"{action.name}: {name} must be of type {parameter.type}, not {value!r}", field=name)
        if parameter.choices and value not in parameter.choices:
            raise Invalid(f"{action.name}: {name} is {value!r}; choose {', '.join(parameter.choices)}", field=name)
        full[name] = value
    return full


def require_ownership(context: Context, machine: AnyMachine, doing: str) -> None:
    """Forbidden when the machine belongs to someone else and the caller is no administrator."""
    if machine.owner_id is not None and machine.owner_id != context.actor.user_id:
        context.require("admin", f"{doing} {machine.hostname}, which belongs to someone else")


def _rules(
    session: Session, context: Context, machine: HeldMachine, action: Action, parameters: dict[str, Any]
) -> list[str]:
    """What the table cannot know; the sentences to warn with."""
    if action.success is State.READY and action.transient is None and not _has_inventory(session, machine):
        raise Conflict(f"{machine.hostname} was never commissioned, so it cannot be Ready; commission it instead")
    if action.name == "commission" and machine.rack_id is None and not _has_interface(session, machine):
        raise Conflict(
            f"{machine.hostname} was entered by its system UUID and has no interface yet;"
            " switch it on, so that it boots from the network and enlists, then commission it"
        )
    if action.name != "deploy":
        return []
    if len(parameters["user_data"].encode()) > USER_DATA_LIMIT:
        raise Invalid(f"user_data: it is larger than {USER_DATA_LIMIT} bytes; shorten it", field="user_data")
    parameters["image"] = images.current_name(session, parameters["image"] or images.DEFAULT_NAME)
    deployment.check(session, machine, parameters["user_data"])
    if parameters["user_data"]:
        # People put passwords and keys into it; it is opened when the machine fetches its plan.
        parameters["user_data"] = context.secrets.seal(parameters["user_data"])
    owner_id = machine.owner_id or context.actor.user_id
    if owner_id is None or _ANY_KEY.first(session, user_id=owner_id) is None:
        who = _NAME.value(session, user_id=machine.owner_id) if machine.owner_id else context.actor.name
        return [f"{who} has no SSH key, so nobody will be able to log in to {machine.hostname}; add a key first."]
    return []


def _has_interface(session: Session, machine: HeldMachine) -> bool:
    return _ANY_INTERFACE.first(session, machine_id=machine.id) is not None


def _has_inventory(session: Session, machine: HeldMachine) -> bool:
    return "cpu" in (_INVENTORY.value(session, machine_id=machine.id) or {})
