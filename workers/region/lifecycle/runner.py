"""The runner: takes a machine's operation from step to step.

Each look is one transaction that holds the operation's row: the handlers write rows, the runner writes what became of
the steps that could be taken at once, and all of it is kept or nothing.  So a worker that dies has done nothing,
another carries on from the row, and two that look at once take turns (SQLite) or leave it to the first (PostgreSQL,
SKIP LOCKED): what they could miss is committed before the ring that wakes them, or is found by `sweep`.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.lifecycle.action import Action
from app.lifecycle.states import State
from app.lifecycle.table import actions
from app.services import foreign_dhcp, held, power
from app.services.changes import awaits_records, changing, event, follow
from app.services.context import Context
from app.services.held import HeldMachine, HeldOperation
from app.services.transition import end, enter, keep, taken
from app.store.models import Event, Operation
from workers.region.lifecycle import clock
from workers.region.lifecycle.result import Done, Failed, Result, Retry, Scene, Waiting
from workers.region.lifecycle.steps import kinds

SWEEP_LIMIT = 500
STUMBLE_SECONDS = 30.0
POWER_POLL_SECONDS = 300
POWER_POLL_LIMIT = 50
log = logging.getLogger(__name__)


def advance(context: Context, machine_id: int) -> bool:
    """Take as many steps as can be taken now; whether this worker left the machine with a running operation."""
    together = True
    while True:
        try:
            again = _look(context, machine_id, _result, together=together)
        except Exception as error:  # A handler with a bug must neither stop the sweep nor keep a machine for ever.
            if together:  # One by one, so that the steps before the bad one are kept.
                together = False
                continue
            log.exception("lifecycle.stumbled", extra={"machine_id": machine_id})
            words = f"{type(error).__name__}: {error}"
            try:
                again = _look(context, machine_id, partial(_stumbled, words=words), together=False)
            except Exception:  # Not even that could be written: the next sweep tries again, other machines go on.
                log.exception("lifecycle.unnoted", extra={"machine_id": machine_id})
                return False
        if again is None:
            return False
        if not again:
            return True


def sweep(context: Context) -> list[int]:
    """Look at everything that is due: lost power orders, wake times and deadlines, power not seen for long.

    The ids of the machines whose operations were looked at.
    """
    with changing(context) as session:
        clock.follow(session, context)
        lost = power.lose(session, context)
    try:
        with changing(context) as session:
            power.poll(session, context, POWER_POLL_SECONDS, POWER_POLL_LIMIT)
    except Exception:  # Questions about power must not hold up operations.
        log.exception("lifecycle.unpolled")
    now = context.clock()
    with context.store.read() as session:
        statement = (
            select(Operation.machine_id)
            .where(Operation.status == "running")
            .where(or_(Operation.wake_at <= now, Operation.deadline_at <= now, Operation.machine_id.in_(lost)))
            .order_by(Operation.deadline_at)
            .limit(SWEEP_LIMIT)
        )
        due = list(session.scalars(statement))
    for machine_id in due:
        advance(context, machine_id)
    return due


def _look(context: Context, machine_id: int, result_of: Callable[[Scene], Result], *, together: bool) -> bool | None:
    """One transaction: whether to look again at once; None when no operation runs, or another worker has it.

    together: take every step that can be taken.  A step that put records ends the transaction all the same, because
    records have no sequence before, which the step after it may wait for.
    """
    structlog.contextvars.unbind_contextvars("request_id")  # A sweep looks at one machine after another.
    with changing(context) as session, session.no_autoflush:  # Rows are written once, at the end.
        operation = held.operation(session, machine_id)
        if operation is None:
            return None
        follow(session, operation.request_id)
        action = actions().get(operation.action)
        machine = taken(session, machine_id)
        if action is None or operation.step_index >= len(action.steps):
            _lost_its_way(session, context, machine, operation)
            keep(session, operation)
            return None
        while True:
            scene = Scene(session, context, machine, operation, action.steps[operation.step_index])
            result = result_of(scene)
            _conclude(scene, action, result)
            over = operation.status != "running"
            paused = not isinstance(result, Done) or result.rest
            if over or paused or not together or awaits_records(session):
                keep(session, operation)
                return None if over else not paused


def _lost_its_way(session: Session, context: Context, machine: HeldMachine, operation: HeldOperation) -> None:
    """End an operation that this version of Muster cannot carry on: its verb or step is gone (a plug-in, an upgrade)."""
    reason = (
        f"{operation.action} cannot go on: step {operation.step} (number {operation.step_index + 1}) is unknown to this "
        "version of Muster; put back the version or plug-in that began it, or commission the machine again"
    )
    end(session, context, operation, "failed", reason)
    enter(session, context, machine, State.BROKEN, reason)


def _stumbled(scene: Scene, words: str) -> Result:
    """What an unforeseen error makes of a step: another try later, until the deadline."""
    reason = f"unexpected error ({words}); look at the region worker's log"
    deadline = scene.operation.deadline_at
    if deadline is not None and scene.context.clock() >= deadline:
        return Failed(reason)
    return Retry(STUMBLE_SECONDS, reason)


def _result(scene: Scene) -> Result:
    """The handler's word, or the failure that its deadline makes of it."""
    result = kinds()[scene.step.kind].run(scene)
    deadline = scene.operation.deadline_at
    if isinstance(result, Done | Failed) or deadline is None or scene.context.clock() < deadline:
        return result
    reason = f"step {scene.step.name} took longer than {scene.step.wait_seconds} seconds: {scene.step.failure}"
    last = _last_warning(scene) or scene.operation.progress.get("message")
    # A step that a person may take at a machine without a BMC is a boot from the network.
    if scene.step.parameters.get("by_hand") and (
        other := foreign_dhcp.why(scene.context, scene.session, scene.machine.id)
    ):
        reason = f"{reason}; {other}"
    return Failed(f"{reason} (last heard: {last})" if last else reason)


def _last_warning(scene: Scene) -> str | None:
    """What was refused to the machine at its boot since the step began: often the very reason of its silence."""
    statement = select(Event.message).where(
        Event.machine_id == scene.machine.id,
        Event.kind == "machine.boot",
        Event.level != "info",
        Event.at >= scene.operation.step_started_at,
    )
    return scene.session.scalar(statement.order_by(Event.id.desc()).limit(1))


def _conclude(scene: Scene, action: Action, result: Result) -> None:
    operation, step = scene.operation, scene.step
    now = scene.context.clock()
    match result:
        case Done(message):
            _say(scene, f"{step.title}: {message or 'done'}")
            _next(scene, action)
        case Failed(reason):
            whole = f"{action.name} failed at step {step.name}: {reason}"
            end(scene.session, scene.context, operation, "failed", whole)
            enter(scene.session, scene.context, scene.machine, action.failure or State.BROKEN, whole)
        case Retry(after, reason):
            if scene.memory.get("said") != reason:
                _say(scene, f"{step.title}: {reason}; trying again", "warning")
                scene.remember(said=reason)
            operation.wake_at = now + dt.timedelta(seconds=after)
        case Waiting(after, message):
            if message and scene.memory.get("said") != message:
                _say(scene, f"{step.title}: {message}")
                scene.remember(said=message)
            operation.wake_at = None if after is None else now + dt.timedelta(seconds=after)


def _next(scene: Scene, action: Action) -> None:
    """Begin the next wanted step, or end the operation with success."""
    operation = scene.operation
    now = scene.context.clock()
    for index in range(operation.step_index + 1, len(action.steps)):
        step = action.steps[index]
        if step.when(operation.parameters):
            operation.step, operation.step_index, operation.step_data = step.name, index, {}
            operation.step_started_at = operation.wake_at = now
            operation.deadline_at = now + dt.timedelta(seconds=step.wait_seconds)
            # How far the last step had come says nothing of this one.
            kept = {name: value for name, value in operation.progress.items() if name not in ("fraction", "agent_step")}
            operation.progress = {**kept, "title": step.title}
            return
    end(scene.session, scene.context, operation, "succeeded")
    enter(scene.session, scene.context, scene.machine, action.success)


def _say(scene: Scene, message: str, level: str = "info") -> None:
    scene.operation.progress = {**scene.operation.progress, "title": scene.step.title, "message": message}
    event(
        scene.session,
        scene.context,
        "machine.step",
        f"{scene.machine.hostname}, {scene.operation.action}: {message}",
        machine_id=scene.machine.id,
        level=level,
        step=scene.step.name,
        state=State(scene.machine.state).value,
    )
