"""What the tests of faults have in common: a worker of the future, timelines, and the proof that the next try works."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from app import wiring
from app.config import load
from app.lifecycle.table import actions
from app.services.context import Context
from app.store.models import BootToken, utc_now
from lab.simulated import Outcome, SimulatedMachine
from lab.simulated_controller import SimulatedController
from lab.standing import Lab
from tests.daemons.lifecycle_faults.parted import PartedControlPlane
from tests.daemons.standing import ask, machine_of, static_address, wait_state, wait_until
from workers.region.lifecycle import runner

WRONG_REGION = ("-m", "tests.daemons.lifecycle_faults.region")
PATIENCE = 90.0


def context_of(lab: Lab, ahead_seconds: float = 0.0) -> Context:
    """The lab's database, as a worker on another host sees it whose clock is ahead."""
    config = load({"MUSTER_STATE_DIR": str(lab.control.state), "MUSTER_CACHE": str(lab.control.state / "cache")})
    ahead = dt.timedelta(seconds=ahead_seconds)
    return replace(wiring.wire(config), clock=lambda: utc_now() + ahead)


def pass_deadline(lab: Lab, machine: SimulatedMachine) -> Any:
    """Have a worker look at the machine to whom the deadline of its step has just passed; the machine as it is then."""
    found = machine_of(lab, machine)
    operation = found["operation"]
    step = next(one for one in actions()[operation["action"]].steps if one.name == operation["step"])
    context = context_of(lab, step.wait_seconds + 5.0)
    runner.advance(context, found["id"])
    context.store.engine.dispose()
    return machine_of(lab, machine)


def timeline(lab: Lab, machine: SimulatedMachine) -> list[str]:
    """What is said of the machine, oldest first."""
    found = lab.api.get(f"/machines/{machine_of(lab, machine)['id']}/events", limit=500)["items"]
    return [event["message"] for event in sorted(found, key=lambda event: event["id"])]


def live_tokens(lab: Lab, machine: SimulatedMachine) -> list[str]:
    """Purposes of the machine's tokens that are not dead."""
    context = context_of(lab)
    with context.store.read() as session:
        rows = select(BootToken.purpose).where(
            BootToken.machine_id == machine_of(lab, machine)["id"], BootToken.revoked_at.is_(None)
        )
        found = list(session.scalars(rows.where(BootToken.purpose != "enlist")))
    context.store.engine.dispose()
    return found


def enlisted(lab: Lab, machine: SimulatedMachine) -> SimulatedMachine:
    """The machine, known to Muster as NEW."""
    assert "enlist" == machine.boot().purpose
    return machine


def commissioned(lab: Lab, machine: SimulatedMachine) -> SimulatedMachine:
    """The machine, READY."""
    boot_for(lab, enlisted(lab, machine), "commission")
    wait_state(lab, machine, "READY")
    return machine


def redeploy(lab: Lab, machine: SimulatedMachine) -> Any:
    """The next try: deploy from where the machine is now; the machine when it is DEPLOYED."""
    outcome = boot_for(lab, machine, "deploy")
    assert "install" == outcome.purpose
    wait_running(lab, machine, "first-boot")
    machine.phone_home(static_address(outcome), outcome.task["hostname"])
    return wait_state(lab, machine, "DEPLOYED")


def recommission(lab: Lab, machine: SimulatedMachine) -> Any:
    """The next try: commission from where the machine is now; the machine when it is READY."""
    assert "commission" == boot_for(lab, machine, "commission").purpose
    return wait_state(lab, machine, "READY")


def wait_running(lab: Lab, machine: SimulatedMachine, step: str, seconds: float = PATIENCE) -> None:
    """Wait until the operation that runs has come to a step."""

    operation: dict[str, Any] = {}

    def look() -> bool:
        operation.update(machine_of(lab, machine)["operation"])
        assert operation["status"] != "failed", operation["reason"]
        return bool(operation["status"] == "running" and operation["step"] == step)

    try:
        wait_until(f"{machine.name} to come to step {step}", look, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {operation}") from error


def boot_for(lab: Lab, machine: SimulatedMachine, verb: str, **parameters: Any) -> Outcome:
    """Ask for a verb, and boot the machine when its operation waits for that."""
    ask(lab, machine, verb, **parameters)
    wait_running(lab, machine, "boot")
    return machine.boot()


@contextlib.contextmanager
def controlled(lab: Lab, machine: SimulatedMachine, address: str) -> Iterator[SimulatedController]:
    """Give an enlisted machine a BMC."""
    with SimulatedController(lab.site, machine.name, address) as controller:
        body = {"driver": "ipmi", "parameters": dict(controller.parameters)}
        lab.api.call("PUT", f"/machines/{machine_of(lab, machine)['id']}/power", json=body)
        yield controller


@contextlib.contextmanager
def dying_workers(control: PartedControlPlane) -> Iterator[Callable[[], list[int]]]:
    """Instead of the region worker, ones that are killed in every second change; gives how each has ended so far."""
    control.kill_region()
    deaths = control.state / "deaths"
    deaths.write_text("")
    control.start_region((*WRONG_REGION, "--deaths", str(deaths)))
    try:
        yield lambda: [int(line) for line in deaths.read_text().splitlines()]
    finally:
        control.kill_region()
