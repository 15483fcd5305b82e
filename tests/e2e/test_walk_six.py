"""A virtual machine on a site without IPv4: from bare metal to a server and back by IPv6 alone, seen from outside."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import demo
from lab.accelerator import choose_accelerator
from lab.machine import VirtualMachine
from lab.run import CACHE
from lab.standing import IMAGE, Lab, standing_lab
from lab.terminal import Terminal
from lab.walk import Walk
from tests.daemons.requires import require_file, require_virtual_rack

DEADLINE_SECONDS = 1800
MACHINE = {"mac": "52:54:00:06:00:11", "bmc_address": "10.30.0.66", "firmware": "uefi", "family": 6, "disk_gib": 4}
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_SECONDS)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Nothing but the BMCs' own network has an IPv4 address."""
    require_virtual_rack()
    require_file(CACHE / IMAGE / "manifest.json", "build it with `make images`")
    with tempfile.TemporaryDirectory(prefix="muster-six-") as folder:
        Path(folder).chmod(0o755)
        with standing_lab(Terminal(io.StringIO()), Path(folder) / "s", CACHE / IMAGE, network=demo.SIX) as made:
            yield made


def test_a_machine_without_ipv4_becomes_a_server_and_is_given_back(lab: Lab) -> None:
    """HTTP boot, enlistment with its BMC, commissioning, installation, phoning home, a login and release, all by IPv6."""
    accelerator = choose_accelerator(CACHE / IMAGE / "vmlinuz")
    demo.set_kernel_options(lab.api, accelerator.kernel_options)
    subnet = demo.SIX.subnets[0].cidr
    with VirtualMachine(lab.site, "six", accelerator=accelerator, **MACHINE) as machine:  # type: ignore[arg-type]
        walk = Walk(lab.api, Terminal(io.StringIO()), lab.outside, machine, lab.rack_address, subnet, demo.DOMAIN)
        try:
            for step in (walk.enlist, walk.commission, walk.allocate, walk.deploy, walk.log_in):
                print(f"{step.__name__}: {step()}", flush=True)
            four, routes, rules = lab.outside.ssh_all(
                walk.address,
                ["ip", "-4", "-o", "address", "show", "scope", "global"],
                ["ip", "-6", "route", "show", "default"],
                ["sh", "-c", "cat /etc/netplan/*.yaml | grep -c 'dhcp4: true' || true"],
            )
            print(f"release: {walk.release()}", flush=True)
        finally:
            print(machine.serial_text()[-4000:])
        said = machine.serial_text()

    assert ("fd20::2", "", "0") == (walk.address, four, rules)
    assert "via fd20::fe" in routes
    assert "proto ra" not in routes
    assert ">>Start HTTP Boot over IPv6" in said
    assert [] == [way for way in ("Start PXE", "over IPv4") if way in said]
