"""The whole product on one host, as `make run ONCE=1` shows it: bare virtual machines become servers and are given back.

One machine has BIOS and IPMI, the other UEFI and Redfish; they are walked side by side, by the code of `make run`.
"""

from pathlib import Path

import pytest

from lab.process import end_processes, name_process
from tests.e2e import runs

DEADLINE_SECONDS = 1500
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_SECONDS + 60)]

LAB_STEPS = [
    "boot images",
    "virtual site",
    "control plane",
    "desired state",
    "rack: enrol, render, push, probe",
]
MACHINE_STEPS = {
    "node1": [
        "virtual machine",
        "power on -> enlisted as New",
        "commission -> Ready",
        "allocate",
        "deploy -> Deployed",
        "log in over SSH",
        "reboot, network boot first",
        "release with disk erase -> Ready",
    ],
    "node2": [
        "virtual machine",
        "entered, on by its BMC -> New",
        "commission -> Ready",
        "allocate",
        "deploy -> Deployed",
        "log in over SSH",
        "reboot, network boot first",
        "release with full erase -> Ready",
    ],
}


def test_the_main_job_is_walked_and_nothing_is_left(state: Path) -> None:
    """Every step of both machines is verified from outside; nothing of the run remains."""
    walk = runs.start(state)
    name = name_process(walk.pid)
    try:
        said, _ = walk.communicate(timeout=DEADLINE_SECONDS)
    finally:
        # Asked to end, it tears down what it made.
        end_processes([name] if name else [], patience=60)
        walk.wait()

    assert 0 == walk.returncode, said[-3000:]
    assert {"": [*LAB_STEPS, "all"], **MACHINE_STEPS} == runs.steps_of(said.partition("verified from outside\n")[2]), (
        said[-3000:]
    )
    runs.assert_nothing_is_left(state, said)
