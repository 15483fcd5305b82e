"""A site without IPv4: control plane, rack and machines, from the enrolment of the rack to a deployed machine and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import demo
from lab.simulated6 import IP6, SimulatedMachine6
from lab.standing import Lab
from tests.daemons.standing import (
    boot_for,
    call_home,
    machine_of,
    static_address,
    tiny_lab,
    wait_state,
    wait_step,
    wait_until,
)

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(240)]

RACK = "fd20::1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Nothing but the BMCs' own network has an IPv4 address."""
    with tiny_lab(network=demo.SIX) as made:
        yield made


def test_a_machine_without_ipv4_is_deployed_and_given_back(lab: Lab, tmp_path: Path) -> None:
    """It boots over HTTP, enlists, is commissioned and installed with a static address that is in DNS, and phones home."""
    with SimulatedMachine6(lab.site, "six", mac="52:54:00:06:00:01") as machine:
        enlisted = machine.boot()
        boot_for(lab, machine, "commission")
        wait_state(lab, machine, "READY")
        outcome = boot_for(lab, machine, "deploy")
        wait_step(lab, machine, "first-boot")
        static = static_address(outcome)
        said = call_home(machine, outcome, tmp_path, RACK)
        deployed = wait_state(lab, machine, "DEPLOYED")
        fqdn = f"{deployed['hostname']}.{demo.DOMAIN}"
        wait_until("its name", lambda: lab.outside.dig(RACK, fqdn, "AAAA") == [static.partition("/")[0]])
        local = machine.boot()
        boot_for(lab, machine, "release")
        released = wait_state(lab, machine, "READY")
        wait_until("its name to go", lambda: not lab.outside.dig(RACK, fqdn, "AAAA"))

    assert "phone-home: http://fd20----64.muster-internal:5248/machine/v1/phone-home heard us\n" == said
    shown = machine_of(lab, machine)
    address = IP6.search(enlisted.script)
    assert address is not None
    assert (enlisted.lease.address, "64", "fd20::fe", RACK) == address.groups()
    assert Path("/usr/lib/ipxe/snponly.efi").stat().st_size == enlisted.loader_bytes
    assert ("enlist", True, "install", "local") == (
        enlisted.purpose,
        enlisted.enlisted["created"],
        outcome.purpose,
        local.purpose,
    )
    assert ("fd20::2/64", "http://[fd20::1]:5248/machine/v1") == (static, machine.url)
    assert ("READY", "READY") == (released["state"], shown["state"])
