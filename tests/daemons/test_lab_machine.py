"""A virtual machine with its BMC, run for real: power, boot order, disk, and an end when the lab is killed.

The guest is a boot sector of a few bytes, so that a start takes seconds under emulation.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import leftovers, namespace
from lab.chassis import SETTLE_SECONDS
from lab.machine import MachineError, VirtualMachine
from lab.network import VirtualSite
from lab.process import name_process
from lab.tether import python_environment
from tests.daemons.requires import require, require_virtual_rack

pytestmark = pytest.mark.daemons

MESSAGE = b"DISK-BOOTED\n\0"
SAY = bytes.fromhex("31c08ed8 be007d ac 08c0 7406 baf803 ee ebf5")
"""Real mode code at 0x7c00: write the text at 0x7d00 to the first serial port."""
STOP = bytes.fromhex("fa f4 ebfd")
"""Wait for ever with interrupts off."""
POWER_OFF = bytes.fromhex("ba0406 b80020 ef") + STOP
"""Enter S5 through the ACPI control register that SeaBIOS puts at 0x604 on this chipset."""


def boot_sector(code: bytes) -> bytes:
    """Return a bootable first sector that says MESSAGE and then runs code."""
    return ((SAY + code).ljust(256, b"\0") + MESSAGE).ljust(510, b"\0") + b"\x55\xaa"


def write_disk(machine: VirtualMachine, code: bytes) -> None:
    """Put a boot sector on the machine's disk."""
    with machine.disk.path.open("r+b") as disk:
        disk.write(boot_sector(code))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualSite]:
    require_virtual_rack()
    with VirtualSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def machine(site: VirtualSite) -> Iterator[VirtualMachine]:
    with VirtualMachine(
        site, "node1", mac="52:54:00:00:00:11", bmc_address="10.30.0.11", memory_mib=128, disk_gib=1
    ) as node:
        yield node


def ipmitool(site: VirtualSite, *words: str, address: str = "10.30.0.11") -> str:
    """Run ipmitool over the LAN as the rack would; the password goes by the environment."""
    argv = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", address, "-U", "admin", "-E", *words]
    environment = {**os.environ, "IPMI_PASSWORD": "factory"}
    done = subprocess.run(
        site.exec_argv(site.rack, argv), capture_output=True, text=True, check=True, env=environment, timeout=30
    )
    return done.stdout


def test_a_new_machine_is_off_and_its_disk_is_blank(machine: VirtualMachine) -> None:
    """Wiring a machine does not start it; its disk holds no signature and no partition."""
    assert (False, [], [], bytes(8)) == (
        machine.is_on,
        machine.disk.signatures(),
        machine.disk.partitions(),
        machine.disk.read(0, 8),
    )


def test_bmc_reports_its_own_address_and_the_machine_uuid(site: VirtualSite, machine: VirtualMachine) -> None:
    """`lan print` shows the BMC's address, netmask and MAC, ARP agrees, and the GUID is the machine's UUID."""
    lines = [line.partition(":") for line in ipmitool(site, "lan", "print", "1").splitlines()]
    settings = {key.strip(): value.strip() for key, _, value in lines}
    namespace.run(["ip", "-n", site.rack, "neighbour", "flush", "all"])
    ipmitool(site, "mc", "info")
    neighbours = namespace.run(["ip", "-n", site.rack, "neighbour", "show", "10.30.0.11"])

    assert ("10.30.0.11", "255.255.255.0", "02:bc:00:00:00:11") == (
        settings["IP Address"],
        settings["Subnet Mask"],
        settings["MAC Address"],
    )
    assert "02:bc:00:00:00:11" in neighbours
    assert machine.uuid in ipmitool(site, "mc", "guid")


def test_power_by_ipmi_follows_the_machine(site: VirtualSite, machine: VirtualMachine) -> None:
    """On, off and cycle through the BMC do what they say, and a cycle is one more start."""
    ipmitool(site, "power", "on")
    on = machine.is_on
    starts = machine.starts
    ipmitool(site, "power", "cycle")
    deadline = time.monotonic() + 10
    while machine.starts == starts and time.monotonic() < deadline:
        time.sleep(0.05)
    cycled = (machine.is_on, machine.starts - starts)
    ipmitool(site, "power", "off")

    assert (True, (True, 1), False) == (on, cycled, machine.is_on)
    assert "Chassis Power is off\n" == ipmitool(site, "power", "status")


def test_power_by_pyghmi(site: VirtualSite, machine: VirtualMachine) -> None:
    """pyghmi from the rack's namespace turns the machine on, sets a one-time boot device, and off again."""
    pytest.importorskip("pyghmi")
    code = (
        "from pyghmi.ipmi.command import Command\n"
        "bmc = Command('10.30.0.11', 'admin', 'factory')\n"
        "bmc.set_bootdev('network')\n"
        "for state in ('on', 'off'):\n"
        "    bmc.set_power(state, wait=10); print(bmc.get_power()['powerstate'])\n"
    )
    argv = site.exec_argv(site.rack, [sys.executable, "-W", "ignore", "-c", code])
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)

    assert (["on", "off"], False) == (done.stdout.split(), machine.is_on)


def test_disk_boot_is_honoured_once(site: VirtualSite, machine: VirtualMachine) -> None:
    """A one-time boot from disk comes before the network, and is forgotten by the start that used it."""
    write_disk(machine, STOP)
    ipmitool(site, "chassis", "bootdev", "disk")
    asked = machine.boot_device
    mark = machine.serial_mark
    machine.power_on()
    console = machine.wait_for_serial("DISK-BOOTED", seconds=30, start=mark)
    after = machine.boot_device
    time.sleep(SETTLE_SECONDS + 0.5)
    mark = machine.serial_mark
    machine.reset()
    machine.wait_for_serial("iPXE initialising devices", seconds=30, start=mark)
    machine.power_off()

    assert ("default", "none") == (asked, after)
    assert "iPXE initialising devices" not in console


def test_disk_boot_set_on_a_running_machine_applies_to_the_next_reset(
    site: VirtualSite, machine: VirtualMachine
) -> None:
    """A boot device set while the machine runs is used by the next reset, once."""
    write_disk(machine, STOP)
    mark = machine.serial_mark
    machine.power_on()
    machine.wait_for_serial("iPXE initialising devices", seconds=30, start=mark)
    ipmitool(site, "chassis", "bootdev", "disk")
    mark = machine.serial_mark
    ipmitool(site, "power", "reset")
    console = machine.wait_for_serial("DISK-BOOTED", seconds=30, start=mark)
    after = machine.boot_device
    machine.power_off()

    assert "none" == after
    assert "iPXE initialising devices" not in console


def test_a_guest_that_powers_itself_off_reads_as_off(site: VirtualSite, machine: VirtualMachine) -> None:
    """Power off from inside is seen by the BMC, and the machine can be started again."""
    write_disk(machine, POWER_OFF)
    ipmitool(site, "chassis", "bootdev", "disk")
    machine.power_on()
    machine.wait_for_power(False, seconds=30)
    status = ipmitool(site, "power", "status")
    machine.power_on()
    again = machine.is_on
    machine.power_off()

    assert ("Chassis Power is off\n", True) == (status, again)


def test_what_the_machine_cannot_do_is_refused_by_name(machine: VirtualMachine) -> None:
    """Talking to the QEMU of a machine that is off names the machine and the remedy."""
    with pytest.raises(MachineError, match="machine node1 is off: query-status needs power; turn it on first"):
        machine.qmp("query-status")


def test_partitions_and_filesystems_are_read_from_outside(machine: VirtualMachine, tmp_path: Path) -> None:
    """The image's table and file systems are visible without starting the machine."""
    require("sgdisk", "mkfs.ext4", "wipefs", "blkid")
    argv = ["sgdisk", "--zap-all", "--new=1:2048:18431", "--typecode=1:8300", "--change-name=1:root"]
    subprocess.run([*argv, str(machine.disk.path)], check=True, capture_output=True)
    (tmp_path / "fs").write_bytes(bytes(8 * 2**20))
    subprocess.run(["mkfs.ext4", "-q", str(tmp_path / "fs")], check=True, capture_output=True)
    with machine.disk.path.open("r+b") as disk:
        disk.seek(2048 * 512)
        disk.write((tmp_path / "fs").read_bytes())
    [partition] = machine.disk.partitions()

    assert (1, 1048576, 8388608, "root") == (partition.number, partition.start, partition.size, partition.name)
    assert "ext4" == machine.disk.filesystem(partition)
    assert "gpt" in machine.disk.signatures()


@pytest.fixture(scope="module")
def uefi(site: VirtualSite) -> Iterator[VirtualMachine]:
    with VirtualMachine(
        site,
        "node2",
        mac="52:54:00:00:00:12",
        bmc_address="10.30.0.12",
        memory_mib=256,
        disk_gib=1,
        firmware="uefi",
        bmc_protocol="redfish",
    ) as node:
        yield node


def console_until(node: VirtualMachine, text: str) -> str:
    """Start the machine; what its console says until `text`, then its power is cut."""
    mark = node.serial_mark
    node.power_on()
    console = node.wait_for_serial(text, seconds=120, start=mark)
    node.power_off()
    return console.partition(text)[0]


def test_uefi_machine_boots_over_ipv4(uefi: VirtualMachine) -> None:
    """OVMF starts with PXE over IPv4: not with its disk, not with HTTP boot, and with no stall on IPv6."""
    console = console_until(uefi, "Start PXE over IPv4")

    assert [] == [text for text in ("Pci(0x9,0x0)", "Start HTTP", "over IPv6") if text in console]


def test_uefi_boots_from_disk_once(uefi: VirtualMachine) -> None:
    """A one-time boot from disk is tried before the network (this disk is blank), and forgotten."""
    uefi.ask({"do": "set", "names": ["boot"], "values": ["default"]})
    console = console_until(uefi, "Start PXE over IPv4")

    assert "Pci(0x9,0x0)" in console
    assert "Pci(0x9,0x0)" not in console_until(uefi, "Start PXE over IPv4")


def test_uefi_boots_by_http_when_ordered(uefi: VirtualMachine) -> None:
    """A machine ordered to boot by HTTP does so without trying PXE before, and the order is gone."""
    uefi.ask({"do": "set", "names": ["boot"], "values": ["http"]})
    asked = uefi.boot_device
    console = console_until(uefi, "Start HTTP Boot over IPv4")

    assert ("http", "none") == (asked, uefi.boot_device)
    assert "Start PXE" not in console


def test_a_killed_lab_takes_its_machines_with_it(tmp_path: Path) -> None:
    """After kill -9 of the lab, QEMU and the BMC end by themselves; only empty namespaces are left to clean."""
    require_virtual_rack()
    code = (
        "import time; from pathlib import Path; from lab.network import VirtualSite; "
        "from lab.machine import VirtualMachine\n"
        f"with VirtualSite(Path({str(tmp_path / 's')!r})) as site, "
        "VirtualMachine(site, 'n', mac='52:54:00:00:00:13', bmc_address='10.30.0.13', memory_mib=64) as node:\n"
        "    node.power_on(); print(site.lan, flush=True); time.sleep(300)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=python_environment())
    assert run.stdout is not None
    lan = run.stdout.readline().strip()
    before = namespace.residents(lan)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 10
    while namespace.residents(lan) and time.monotonic() < deadline:
        time.sleep(0.05)
    after = namespace.residents(lan)
    leftovers.clean(tmp_path)

    assert (3, []) == (len(before), after)
    assert [None] * 3 == [name_process(name.pid) for name in before]
