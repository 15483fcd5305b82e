"""The control plane's own troubles in the middle of a machine's life: deaths, a broker that loses all, clocks."""

import pytest

from lab.simulated import SimulatedMachine
from lab.standing import Lab
from tests.daemons.lifecycle_faults.agent import AgentProcess
from tests.daemons.lifecycle_faults.faults import (
    PATIENCE,
    WRONG_REGION,
    boot_for,
    commissioned,
    context_of,
    enlisted,
    recommission,
    redeploy,
    timeline,
    wait_running,
)
from tests.daemons.lifecycle_faults.parted import PartedControlPlane
from tests.daemons.standing import (
    ask,
    bare,
    machine_of,
    static_address,
    static_addresses,
    wait_state,
    wait_until,
)
from workers.region.lifecycle import runner

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(300)]

HOUR = 3600.0
LOSES_ALL = "memory://"
"""Each process has a broker in its own memory, so that nothing reaches another process and nobody hears of it."""


def test_the_web_server_is_killed_between_the_calls_of_a_machine(lab: Lab, control: PartedControlPlane) -> None:
    """Tokens, signals and the step are rows, so that a deployment ends well across two deaths."""
    with SimulatedMachine(lab.site, "restart", mac="52:54:00:0c:01:01") as machine:
        commissioned(lab, machine)
        ask(lab, machine, "deploy")
        wait_running(lab, machine, "boot")
        outcome = machine.start()
        control.kill_web()
        control.start_web()
        machine.run_task(outcome)
        control.kill_web()
        control.start_web()
        wait_running(lab, machine, "first-boot")
        machine.phone_home(static_address(outcome), outcome.task["hostname"])
        deployed = wait_state(lab, machine, "DEPLOYED")

    assert bare(static_addresses(outcome)) == deployed["addresses"]


def test_the_agent_waits_for_a_web_server_that_is_away(lab: Lab, control: PartedControlPlane) -> None:
    """The real agent begins while nobody answers; its calls are answered or tried again, and the erase ends well."""
    with SimulatedMachine(lab.site, "patient", mac="52:54:00:0c:02:01") as machine:
        commissioned(lab, machine)
        redeploy(lab, machine)
        ask(lab, machine, "release", erase="quick")
        wait_running(lab, machine, "boot")
        with AgentProcess(lab, machine) as agent:  # A machine without disks has nothing to erase.
            control.kill_web()
            agent.start()
            wait_until("the agent's first words", lambda: "agent on Python" in agent.said())
            control.start_web()
            code = agent.wait(PATIENCE)
            released = wait_state(lab, machine, "READY")

    assert (0, ["poweroff"]) == (code, agent.ordered()), agent.said()
    assert ([], None) == (released["addresses"], released["owner"])


def test_a_broker_that_loses_every_message_costs_only_time(lab: Lab, control: PartedControlPlane) -> None:
    """No ring and no timer message arrives anywhere; timers that need no broker carry the walk on to its end."""
    control.kill_region()
    control.kill_web()
    control.start_web(MUSTER_BROKER_URL=LOSES_ALL)
    control.start_region((*WRONG_REGION, "--lose-rings"), MUSTER_BROKER_URL=LOSES_ALL)
    try:
        with SimulatedMachine(lab.site, "unrung", mac="52:54:00:0c:03:01") as machine:
            commissioned(lab, machine)
            deployed = redeploy(lab, machine)
            lab.outside.names("10.20.0.1", deployed["fqdn"], deployed["addresses"][0])
            boot_for(lab, machine, "release", erase="quick")
            released = wait_state(lab, machine, "READY")
    finally:
        control.kill_region()
        control.kill_web()

    assert [] == released["addresses"]


def test_a_worker_whose_clock_is_an_hour_ahead(lab: Lab) -> None:
    """Its sweep fails nobody: deadlines move, the timeline says why, and the machine finishes."""
    with SimulatedMachine(lab.site, "clock", mac="52:54:00:0c:04:01") as machine:
        enlisted(lab, machine)
        ask(lab, machine, "commission")
        wait_running(lab, machine, "boot")
        context = context_of(lab, HOUR)
        runner.sweep(context)
        context.store.engine.dispose()
        state = machine_of(lab, machine)["state"]
        machine.boot()
        wait_state(lab, machine, "READY")
        said = timeline(lab, machine)
        recommission(lab, machine)

    assert "COMMISSIONING" == state
    assert 1 <= sum("the control plane's clock went" in message for message in said), said
