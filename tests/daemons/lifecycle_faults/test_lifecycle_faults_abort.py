"""An abort at every step of every verb: the right state and reason, dead tokens, power off, and the next try works.

The steps come from the state table, so that a new one is tested too.  The region worker is the test itself, which looks
when it wants to; at a step that is done at once nothing ever rests unless it stumbles, so there the row is put.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from app.lifecycle.states import State
from app.lifecycle.table import actions, after_abort
from app.services.context import Context
from app.store.models import Operation, PowerOperation
from lab.simulated import SimulatedMachine
from lab.simulated_controller import SimulatedController
from lab.standing import Lab
from tests.daemons.lifecycle_faults.faults import (
    PATIENCE,
    context_of,
    controlled,
    enlisted,
    live_tokens,
    recommission,
    redeploy,
)
from tests.daemons.lifecycle_faults.parted import PartedControlPlane
from tests.daemons.standing import ask, machine_of, wait_state, wait_until
from workers.region.lifecycle import runner

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]

AT_ONCE = {"arm", "address", "inventory", "free"}
"""Kinds of step that never wait."""
PURPOSE = {"commission": "commission", "deploy": "install", "release": "erase"}


@pytest.fixture
def machine(lab: Lab) -> Iterator[SimulatedMachine]:
    """Known to Muster."""
    with SimulatedMachine(lab.site, "abort", mac="52:54:00:0e:00:01") as made:
        if machine_of(lab, made) is None:
            enlisted(lab, made)
        yield made


@pytest.fixture
def controller(lab: Lab, machine: SimulatedMachine) -> Iterator[SimulatedController]:
    """Its BMC."""
    with controlled(lab, machine, "10.30.0.62") as made:
        yield made


@pytest.fixture
def context(lab: Lab, controller: SimulatedController) -> Iterator[Context]:
    """The lab's database."""
    made = context_of(lab)
    yield made
    made.store.engine.dispose()


def bring(lab: Lab, context: Context, machine: SimulatedMachine, verb: str, name: str, **parameters: Any) -> None:
    """Ask for the verb, and go on until the operation rests at the step."""
    action = actions()[verb]
    operation_id = ask(lab, machine, verb, **parameters)["id"]
    step = next(one for one in action.steps if one.name == name)
    if step.kind in AT_ONCE:
        values = {"step": name, "step_index": action.steps.index(step), "step_data": {}}
        with context.store.write() as session:
            session.execute(update(Operation).where(Operation.id == operation_id).values(**values))
        return
    machine_id = machine_of(lab, machine)["id"]
    end, booted = time.monotonic() + PATIENCE, False
    while True:
        runner.advance(context, machine_id)
        operation = machine_of(lab, machine)["operation"]
        assert "running" == operation["status"], operation
        if operation["step"] == name:
            return
        if operation["step"] == "boot" and not booted:
            booted, outcome = True, machine.start()
            machine.call(machine.url, "GET", "/task", machine.token)
        elif operation["step"] in ("scripts", "install", "erase"):
            machine.run_task(outcome)
        assert time.monotonic() < end, operation
        time.sleep(0.05)


def switched_off(context: Context, machine_id: int) -> bool:
    """Whether the last power order was to switch off, and is carried out."""
    with context.store.read() as session:
        rows = select(PowerOperation.verb, PowerOperation.status).where(PowerOperation.machine_id == machine_id)
        verb, status = session.execute(rows.order_by(PowerOperation.id.desc()).limit(1)).one()
        return (verb, status) == ("off", "done")


def abort_everywhere(lab: Lab, context: Context, machine: SimulatedMachine, verb: str, **parameters: Any) -> None:
    """Abort the verb at each of its steps, one try after the other."""
    for step in actions()[verb].steps:
        before = machine_of(lab, machine)
        machine.url = ""
        bring(lab, context, machine, verb, step.name, **parameters)
        ask(lab, machine, "abort")
        found = machine_of(lab, machine)
        machine_id = found["id"]
        where = f"{verb} aborted at {step.name}"
        wait_until(f"{where}: power off", partial(switched_off, context, machine_id), PATIENCE)

        assert after_abort(actions()[verb], State(before["state"])) == found["state"], where
        assert f"{verb} was aborted by admin at step {step.name}" == found["state_reason"], where
        assert [] == live_tokens(lab, machine), where
        assert (before["addresses"] if verb == "release" else []) == found["addresses"], where
        assert runner.advance(context, machine_id) is False, where
        if machine.url:
            assert 401 == machine.request("GET", f"{machine.url}/task", machine.token)[0], where
        assert "off" == machine_of(lab, machine)["power_state"], where


def test_aborts_at_every_step(
    lab: Lab, control: PartedControlPlane, machine: SimulatedMachine, controller: SimulatedController, context: Context
) -> None:
    """Commission goes back to where it was asked, deploy to Allocated without address, release fails and keeps it."""
    control.kill_region()
    abort_everywhere(lab, context, machine, "commission")
    control.start_region()
    recommission(lab, machine)
    control.kill_region()
    abort_everywhere(lab, context, machine, "deploy")
    control.start_region()
    redeploy(lab, machine)
    control.kill_region()
    abort_everywhere(lab, context, machine, "release", erase="quick")
    control.start_region()
    ask(lab, machine, "release", erase="none")
    released = wait_state(lab, machine, "READY")

    assert ([], None) == (released["addresses"], released["owner"])
