"""A virtual machine on a site without IPv4: firmware, loader, kernel and the ephemeral system by IPv6 alone."""

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

DEADLINE_SECONDS = 1500
MACHINE = {"mac": "52:54:00:06:00:11", "bmc_address": "10.30.0.66", "memory_mib": 1024}
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_SECONDS)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Nothing but the BMCs' own network has an IPv4 address."""
    require_virtual_rack()
    require_file(CACHE / IMAGE / "manifest.json", "build the images: python -m workers.region.images build")
    with tempfile.TemporaryDirectory(prefix="muster-six-") as folder:
        Path(folder).chmod(0o755)
        with standing_lab(Terminal(io.StringIO()), Path(folder) / "s", CACHE / IMAGE, network=demo.SIX) as made:
            yield made


def test_a_machine_without_ipv4_enlists_and_is_commissioned(lab: Lab) -> None:
    """Firmware, loader, kernel, initramfs and agent work by IPv6 alone; its BMC is found, and what it says is what it is."""
    accelerator = choose_accelerator(CACHE / IMAGE / "vmlinuz")
    machine = VirtualMachine(lab.site, "six", firmware="uefi", family=6, accelerator=accelerator, **MACHINE)  # type: ignore[arg-type]
    subnet = demo.SIX.subnets[0].cidr
    with machine:
        walk = Walk(lab.api, Terminal(io.StringIO()), lab.outside, machine, lab.rack_address, subnet, demo.DOMAIN)
        try:
            for step in (walk.enlist, walk.commission):
                print(f"{step.__name__}: {step()}", flush=True)
        finally:
            print(machine.serial_text()[-4000:])

    assert "READY" == lab.api.get(f"/machines/{walk.machine_id}")["state"]
