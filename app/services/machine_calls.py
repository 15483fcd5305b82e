"""What a booted machine may ask and report: its task, where it is, what its scripts found, that its system runs.

Reports become *signals* on the running operation; the region worker reads them and takes the next step.  The first
word of a kind counts, so that a repeated report (the answer was lost) changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services import commissioning, deployment
from app.services.boot_tokens import ENLIST, PHONE_HOME, MachineCaller
from app.services.changes import changing, event, touch_machine
from app.services.context import Context
from app.services.errors import Conflict, Invalid, ServiceError
from app.services.transition import taken
from app.store.models import Machine, Operation, ScriptResult
from app.store.prepared import Prepared

EVENTS = ("started", "progress", "finished", "failed")
REASON_LIMIT = 2000


class Underway(NamedTuple):
    """A running operation and its machine, as their machine's calls need them."""

    id: int
    action: str
    status: str
    signals: dict[str, Any]
    progress: dict[str, Any]
    machine_id: int
    hostname: str
    state: str


_UNDERWAY = Prepared(
    select(
        Operation.id,
        Operation.action,
        Operation.status,
        Operation.signals,
        Operation.progress,
        Machine.id.label("machine_id"),
        Machine.hostname,
        Machine.state,
    )
    .join(Machine, Machine.id == Operation.machine_id)
    .where(Operation.id == bindparam("operation_id"))
    .with_for_update(of=(Operation, Machine), key_share=True)
)
_PARAMETERS = Prepared(select(Operation.parameters).where(Operation.id == bindparam("operation_id")))
_SAY = Prepared(
    update(Operation).where(Operation.id == bindparam("of_operation")).values(progress=bindparam("new_progress"))
)
_SIGNAL = Prepared(
    update(Operation)
    .where(Operation.id == bindparam("of_operation"))
    .values(signals=bindparam("new_signals"), wake_at=bindparam("now"))
)
_CALLED_HOME = Prepared(
    update(Machine)
    .where(Machine.id == bindparam("of_machine"))
    .values(ssh_host_keys=bindparam("new_keys"), version=Machine.version + 1)
)
_HEARD = ("status", "exit_code", "seconds", "stdout", "stderr", "result", "at")


def _keeping(insert: Callable[..., Any]) -> Prepared:
    """Write a script's result over an earlier one of the same script and operation."""
    statement = insert(ScriptResult)
    return Prepared(
        statement.on_conflict_do_update(
            index_elements=[ScriptResult.operation_id, ScriptResult.script],
            set_={name: statement.excluded[name] for name in _HEARD},
        ),
        *("machine_id", "operation_id", "script", *_HEARD),
    )


_KEEP_RESULT = {"sqlite": _keeping(sqlite.insert), "postgresql": _keeping(postgresql.insert)}
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
        run = _underway(session, caller)
        answer |= {"machine": str(run.machine_id), "hostname": run.hostname}
        if caller.purpose == "commission":
            answer["scripts"] = commissioning.task()
        else:
            parameters = _PARAMETERS.one(session, operation_id=run.id).parameters
            if caller.purpose == "erase":
                answer["erase"] = {"mode": str(parameters["erase"])}
            else:
                machine = taken(session, run.machine_id)
                try:
                    with session.begin_nested():
                        answer["install"] = deployment.plan(session, context, machine, run.id, parameters, caller)
                except ServiceError as error:
                    refusal = error
        if refusal is None:
            _signal(session, context, run, f"{caller.purpose}.started", {})
        else:
            _signal(session, context, run, f"{caller.purpose}.failed", {"message": refusal.detail})
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
        run = _underway(session, caller, again=what in ("finished", "failed"))
        heard = {"agent_step": step, "message": message[:REASON_LIMIT], "fraction": fraction}
        _SAY.run(session, of_operation=run.id, new_progress=run.progress | heard)
        if what == "progress" and run.progress.get("agent_step") == step:
            return
        level = "error" if what == "failed" else "info"
        words = f"{run.hostname}, {run.action}: {message[:REASON_LIMIT] or what}"
        event(
            session,
            context,
            "machine.step",
            words,
            machine_id=run.machine_id,
            level=level,
            step=step,
            state=run.state,
            event=what,
        )
        if what != "progress":
            _signal(session, context, run, f"{caller.purpose}.{what}", {"message": message[:REASON_LIMIT]})


def result(context: Context, caller: MachineCaller, report: ScriptReport) -> None:
    """Keep what one script said; the same script again replaces it. Conflict after the run has finished.

    Only scripts of the task are taken, so that a machine cannot fill the database under names of its own.
    """
    if report.script not in dict(commissioning.SCRIPTS):
        raise Invalid(f"script {report.script!r}: it is none of this task; run what the task lists", field="script")
    with changing(context) as session:
        run = _underway(session, caller)
        values = {"machine_id": run.machine_id, "operation_id": run.id, "script": report.script, "at": context.clock()}
        values |= {name: getattr(report, name) for name in _HEARD if name != "at"}
        _KEEP_RESULT[session.get_bind().dialect.name].run(session, **values)
        bad = report.status not in commissioning.GOOD
        event(
            session,
            context,
            "machine.step",
            f"{run.hostname}: script {report.script} {report.status} after {report.seconds:.1f} s.",
            machine_id=run.machine_id,
            level="warning" if bad else "info",
            step=f"script:{report.script}",
            state=run.state,
        )


def phone_home(context: Context, caller: MachineCaller, report: PhoneHome) -> None:
    """The installed system runs. Conflict when the machine does not wait for it."""
    with changing(context) as session:
        run = _underway(session, caller)
        _CALLED_HOME.run(session, of_machine=run.machine_id, new_keys=list(report.ssh_host_keys))
        detail = {"hostname": report.hostname, "boot_id": report.boot_id, "addresses": list(report.addresses)}
        _signal(session, context, run, PHONE_HOME, detail)
        event(
            session,
            context,
            "machine.boot",
            f"{run.hostname}: the installed system called home from {caller.address}.",
            machine_id=run.machine_id,
            step="first-boot",
            state=run.state,
        )


def _underway(session: Session, caller: MachineCaller, *, again: bool = False) -> Underway:
    """The caller's operation and its machine, both locked. again: the run's last word may be repeated after it ended."""
    row = _UNDERWAY.first(session, operation_id=caller.operation_id)
    if row is None or row.status != "running":
        raise Conflict(f"{caller.purpose}: the operation of this boot is over; boot again when a new one is started")
    run = Underway(*row)
    finished = {f"{caller.purpose}.finished", f"{caller.purpose}.failed"} & set(run.signals)
    if finished and not again:
        raise Conflict(f"{caller.purpose}: this run has ended already ({sorted(finished)[0]}); nothing more is taken")
    return run


def _signal(session: Session, context: Context, run: Underway, name: str, detail: dict[str, Any]) -> None:
    """Leave a word for the region worker; the first of a name counts. At most one a call."""
    if name not in run.signals:
        now = context.clock()
        signals = {**run.signals, name: {**detail, "at": now.isoformat()}}
        # By the wake time the sweep finds it, should the ring be lost or its worker be killed.
        _SIGNAL.run(session, of_operation=run.id, new_signals=signals, now=now)
        touch_machine(session, run.machine_id)


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
