"""The region worker is killed at every step of every verb: the next one carries on, and nothing is done twice."""

import ipaddress

import pytest

from lab.simulated import SimulatedMachine
from lab.standing import Lab
from tests.daemons.lifecycle_faults.faults import (
    PATIENCE,
    controlled,
    dying_workers,
    enlisted,
    live_tokens,
    timeline,
    wait_running,
)
from tests.daemons.lifecycle_faults.parted import PartedControlPlane
from tests.daemons.standing import ask, machine_of, static_address, wait_until

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(300)]

KILLED = -9


def test_workers_killed_in_every_change_finish_the_walk(lab: Lab, control: PartedControlPlane) -> None:
    """Each worker is killed inside the second transaction it makes, so that every step is begun twice and kept once."""
    with SimulatedMachine(lab.site, "reaped", mac="52:54:00:0a:00:01") as machine:
        enlisted(lab, machine)

        def state(wanted: str) -> None:
            wait_until(f"{machine.name} to be {wanted}", lambda: machine_of(lab, machine)["state"] == wanted, PATIENCE)

        with controlled(lab, machine, "10.30.0.61") as controller, dying_workers(control) as deaths:
            told, counts = {}, {}
            ask(lab, machine, "commission")
            wait_running(lab, machine, "boot")
            assert ["commission"] == live_tokens(lab, machine)
            machine.boot()
            state("READY")
            told["commission"], counts["commission"] = controller.done[:], len(deaths())
            ask(lab, machine, "deploy")
            wait_running(lab, machine, "boot")
            given = machine_of(lab, machine)["addresses"]
            outcome = machine.boot()
            wait_running(lab, machine, "first-boot")
            machine.phone_home(static_address(outcome), outcome.task["hostname"])
            state("DEPLOYED")
            told["deploy"], counts["deploy"] = controller.done[len(told["commission"]) :], len(deaths())
            fqdn = machine_of(lab, machine)["fqdn"]
            lab.outside.names("10.20.0.1", fqdn, given[0])
            ask(lab, machine, "release", erase="quick")
            wait_running(lab, machine, "boot")
            machine.boot()
            state("READY")
            before = sum(map(len, told.values()))
            told["release"], counts["release"] = controller.done[before:], len(deaths())
            ended = set(deaths())
        said = timeline(lab, machine)
        operations = lab.api.get(f"/machines/{machine_of(lab, machine)['id']}/operations")["items"]

    # A machine that is off is not switched off before it is switched on.
    assert {
        "commission": ["boot pxe", "power 1", "power 0"],
        "deploy": ["boot pxe", "power 1"],
        "release": ["boot pxe", "power 0", "power 1", "power 0"],
    } == told
    assert {KILLED} == ended
    assert counts["commission"] >= 3
    assert counts["deploy"] >= counts["commission"] + 3
    assert counts["release"] >= counts["deploy"] + 3
    assert ["succeeded"] * 3 == [one["status"] for one in operations]
    assert 3 == sum("Allow one network boot" in message for message in said)
    assert [4, 6] == sorted(ipaddress.ip_address(address).version for address in given)
    assert [] == machine_of(lab, machine)["addresses"]
    assert [] == live_tokens(lab, machine)
