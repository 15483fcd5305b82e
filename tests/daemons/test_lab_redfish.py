"""A virtual machine whose BMC speaks Redfish over TLS, switched from the rack as the rack's power process does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lab.machine import VirtualMachine
from lab.network import VirtualSite
from lab.tether import python_environment
from tests.daemons.requires import require_virtual_rack

pytestmark = pytest.mark.daemons
ADDRESS = "10.30.0.21"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualSite]:
    require_virtual_rack()
    with VirtualSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def machine(site: VirtualSite) -> Iterator[VirtualMachine]:
    with VirtualMachine(
        site, "node1", mac="52:54:00:00:00:21", bmc_address=ADDRESS, memory_mib=128, disk_gib=1, bmc_protocol="redfish"
    ) as node:
        yield node


def switch(site: VirtualSite, machine: VirtualMachine, verb: str, **other: str) -> dict[str, Any]:
    """One power operation in the rack's namespace."""
    parameters = {
        "address": ADDRESS,
        "username": machine.bmc.username,
        "password": machine.bmc.password,
        "certificate": machine.bmc_fingerprint,
        "system_uuid": machine.uuid,
        "firmware": machine.hardware.firmware,
        **other,
    }
    done = subprocess.run(
        site.exec_argv(site.rack, [sys.executable, "-m", "workers.rack.power_operation"]),
        input=json.dumps({"driver": "redfish", "verb": verb, "parameters": parameters, "deadline_seconds": 100}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=python_environment(),
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_power_by_redfish_follows_the_machine(site: VirtualSite, machine: VirtualMachine) -> None:
    """On starts QEMU, off ends it, and the controller says what is."""
    switch(site, machine, "on")
    on = (machine.is_on, switch(site, machine, "query")["power"])
    switch(site, machine, "off")
    off = (machine.is_on, switch(site, machine, "query")["power"])

    assert ((True, "on"), (False, "off")) == (on, off)


def test_a_boot_override_by_redfish_is_for_one_boot(site: VirtualSite, machine: VirtualMachine) -> None:
    """The chassis has the boot device until the machine has started once, and no longer."""
    ask = {"do": "get", "names": ["boot"]}
    answer = switch(site, machine, "pxe")
    before = machine.ask(ask)["values"]["boot"]
    switch(site, machine, "on")
    after = machine.ask(ask)["values"]["boot"]
    switch(site, machine, "off")

    assert (True, "pxe", "none") == (answer["ok"], before, after)


def test_another_machines_controller_is_not_switched(site: VirtualSite, machine: VirtualMachine) -> None:
    """A controller whose system has another UUID than the machine's is left alone."""
    answer = switch(site, machine, "on", system_uuid="00000000-1111-2222-3333-444444444444")

    assert ("refused", False) == (answer["kind"], machine.is_on)
