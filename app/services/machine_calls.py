"""What a booted machine may ask and report: its task, where it is, what its scripts found, that its system runs.

Reports become *signals* on the running operation; the region worker reads them and takes the next step.  The first
word of a kind counts, so that a repeated report (the answer was lost) changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services import commissioning, deployment
from app.services.boot_tokens import ENLIST, PHONE_HOME, MachineCaller
from app.services.changes import changing, event, touch_machine
from app.services.context import Context
from app.services.errors import Conflict, Invalid, ServiceError
from app.services.transition import locked
from app.store.models import Machine, Operation, ScriptResult

EVENTS = ("started", "progress", "finished", "failed")
REASON_LIMIT = 2000
_CALLERS_OPERATION = select(Operation).where(Operation.id == bindparam("operation_id")).with_for_update(key_share=True)
_THEN = {ENLIST: "poweroff", "commission": "poweroff", "install": "reboot", "erase": "poweroff"}


@dataclass(frozen=True)
class ScriptReport:
    """What one script said; output is text already, cut by the machine."""

    script: str
    status: str
    exit_code: int | None
    seconds: float
    stdout: str
    stderr: str
    result: dict[str, Any] | None


@dataclass(frozen=True)
class PhoneHome:
    """What an installed system says of itself."""

    hostname: str
    ssh_host_keys: tuple[str, ...]
    boot_id: str
    addresses: tuple[str, ...]


def task(context: Context, caller: MachineCaller) -> dict[str, Any]:
    """What the machine is to do. Conflict when its operation is over, or when no task can be made (which ends it)."""
    answer: dict[str, Any] = {
        "purpose": caller.purpose,
        "machine": None,
        "hostname": "muster",
        "scripts": [],
        "install": None,
        "erase": None,
        "then": _THEN[caller.purpose],
    }
    if caller.purpose == ENLIST:
        return answer
    refusal: ServiceError | None = None
    with changing(context) as session:
        operation, machine = _underway(session, caller)
        answer |= {"machine": str(machine.id), "hostname": machine.hostname}
        if caller.purpose == "commission":
            answer["scripts"] = commissioning.task()
        elif caller.purpose == "erase":
            answer["erase"] = {"mode": str(operation.parameters["erase"])}
        else:
            try:
                with session.begin_nested():
                    answer["install"] = deployment.plan(session, context, machine, operation, caller)
            except ServiceError as error:
                refusal = error
        if refusal is None:
            _signal(session, context, operation, f"{caller.purpose}.started", {})
        else:
            _signal(session, context, operation, f"{caller.purpose}.failed", {"message": refusal.detail})
    if refusal is not None:
        raise Conflict(f"{caller.purpose}: no plan can be made: {refusal.detail}") from refusal
    return answer


def status(
    context: Context, caller: MachineCaller, what: str, step: str, message: str, fraction: float | None = None
) -> None:
    """Where the run is. Progress is kept on the operation; the timeline has one line for each step."""
    if caller.purpose == ENLIST:
        _enlist_status(context, caller, what, message)
        return
    with changing(context) as session:
        operation, machine = _underway(session, caller, again=what in ("finished", "failed"))
        before = operation.progress.get("agent_step")
        operation.progress = {
            **operation.progress,
            "agent_step": step,
            "message": message[:REASON_LIMIT],
            "fraction": fraction,
        }
        if what == "progress" and before == step:
            return
        level = "error" if what == "failed" else "info"
        words = f"{machine.hostname}, {operation.action}: {message[:REASON_LIMIT] or what}"
        event(
            session,
            context,
            "machine.step",
            words,
            machine_id=machine.id,
            level=level,
            step=step,
            state=machine.state,
            event=what,
        )
        if what != "progress":
            _signal(session, context, operation, f"{caller.purpose}.{what}", {"message": message[:REASON_LIMIT]})


def result(context: Context, caller: MachineCaller, report: ScriptReport) -> None:
    """Keep what one script said; the same script again replaces it. Conflict after the run has finished.

    Only scripts of the task are taken, so that a machine cannot fill the database under names of its own.
    """
    if report.script not in dict(commissioning.SCRIPTS):
        raise Invalid(f"script {report.script!r}: it is none of this task; run what the task lists", field="script")
    with changing(context) as session:
        operation, machine = _underway(session, caller)
        statement = select(ScriptResult).where(
            ScriptResult.operation_id == operation.id, ScriptResult.script == report.script
        )
        row = session.scalars(statement).one_or_none()
        if row is None:
            row = ScriptResult(machine_id=machine.id, operation_id=operation.id, script=report.script)
            session.add(row)
        row.status, row.exit_code, row.seconds = report.status, report.exit_code, report.seconds
        row.stdout, row.stderr, row.result = report.stdout, report.stderr, report.result
        row.at = context.clock()
        bad = report.status not in commissioning.GOOD
        event(
            session,
            context,
            "machine.step",
            f"{machine.hostname}: script {report.script} {report.status} after {report.seconds:.1f} s.",
            machine_id=machine.id,
            level="warning" if bad else "info",
            step=f"script:{report.script}",
            state=machine.state,
        )


def phone_home(context: Context, caller: MachineCaller, report: PhoneHome) -> None:
    """The installed system runs. Conflict when the machine does not wait for it."""
    with changing(context) as session:
        operation, machine = _underway(session, caller)
        machine.ssh_host_keys = list(report.ssh_host_keys)
        machine.version += 1
        detail = {"hostname": report.hostname, "boot_id": report.boot_id, "addresses": list(report.addresses)}
        _signal(session, context, operation, PHONE_HOME, detail)
        event(
            session,
            context,
            "machine.boot",
            f"{machine.hostname}: the installed system called home from {caller.address}.",
            machine_id=machine.id,
            step="first-boot",
            state=machine.state,
        )


def _underway(session: Session, caller: MachineCaller, *, again: bool = False) -> tuple[Operation, Machine]:
    """The caller's operation and machine, both locked. again: the run's last word may be repeated after it ended."""
    operation = session.scalars(_CALLERS_OPERATION, {"operation_id": caller.operation_id}).one_or_none()
    if operation is None or operation.status != "running":
        raise Conflict(f"{caller.purpose}: the operation of this boot is over; boot again when a new one is started")
    finished = {f"{caller.purpose}.finished", f"{caller.purpose}.failed"} & set(operation.signals)
    if finished and not again:
        raise Conflict(f"{caller.purpose}: this run has ended already ({sorted(finished)[0]}); nothing more is taken")
    return operation, locked(session, operation.machine_id, bare=True)


def _signal(session: Session, context: Context, operation: Operation, name: str, detail: dict[str, Any]) -> None:
    if name not in operation.signals:
        operation.signals = {**operation.signals, name: {**detail, "at": context.clock().isoformat()}}
        touch_machine(session, operation.machine_id)


def _enlist_status(context: Context, caller: MachineCaller, what: str, message: str) -> None:
    if what == "progress":
        return
    with changing(context) as session:
        machine = session.get(Machine, caller.machine_id) if caller.machine_id is not None else None
        if what == "finished" and machine is not None and machine.state == State.NEW:
            machine.power_state = "off"  # It powers off now; the next query of its BMC will tell.
            machine.power_checked_at = None
        event(
            session,
            context,
            "machine.enlisted" if what != "failed" else "machine.step",
            f"Enlisting {machine.hostname if machine else caller.mac}: {message[:REASON_LIMIT] or what}",
            machine_id=machine.id if machine else None,
            rack_id=None if machine else caller.rack_id,
            level="error" if what == "failed" else "info",
            step="enlist",
            event=what,
        )
