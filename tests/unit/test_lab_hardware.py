"""What QEMU, the BMC and the supervisor are told, without starting them."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.accelerator import EMULATION, KERNEL_OPTIONS, KVM, Accelerator, choose_accelerator
from lab.bmc import Bmc, guid, lan_configuration
from lab.chassis import Chassis, Refused, describe, read_description
from lab.disk import DiskImage
from lab.network import VirtualSite, Vlan
from lab.process import ProcessName, end_processes, name_process
from lab.qemu import Hardware, LoaderProtocol, Nic, boot_order, command_line
from lab.supervise import Program, configuration

HARDWARE = Hardware(
    name="node1",
    uuid="d1f5e127-d722-543a-a062-605d7c7c4733",
    serial="VM1",
    memory_mib=1024,
    cpus=1,
    firmware="bios",
    nics=(Nic("52:54:00:00:00:11", "t-node1"), Nic("52:54:00:00:00:12", "t2-node1")),
    disk=Path("/lab/disk.raw"),
    directory=Path("/lab"),
    ipmi_host="127.30.0.11",
    ipmi_port=9002,
    accelerator=EMULATION,
)
BMC = Bmc(
    name="node1",
    interface="10.30.0.11/24",
    mac="02:bc:00:00:00:11",
    gateway="10.30.0.1",
    system_uuid=HARDWARE.uuid,
    username="admin",
    password="factory",
)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        pytest.param("network", {"nic0": 1, "nic1": 2, "disk0": 3}, id="network first"),
        pytest.param("disk", {"disk0": 1, "nic0": 2, "nic1": 3}, id="disk first"),
    ],
)
def test_boot_order_names_every_device_once(first: str, expected: dict[str, int]) -> None:
    """The boot source asked for comes first, and no two devices share an index."""
    assert expected == boot_order(first, 2)  # type: ignore[arg-type]


def test_bios_machine_boots_from_the_card_rom_and_may_reboot() -> None:
    """A BIOS machine keeps its card's iPXE ROM, tries the network first, and QEMU survives the guest's reboots."""
    argv = command_line(HARDWARE)

    assert "virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:11,addr=0x3,bootindex=1" in argv
    assert "virtio-blk-pci,id=disk0,drive=drive0,serial=VM1,addr=0x9,bootindex=3" in argv
    assert "-no-reboot" not in argv


def test_uefi_machine_has_its_own_variables_and_skips_pxe_over_ipv6() -> None:
    """A UEFI machine writes its own variable store, gets no ROM, and does not stall on PXE over IPv6."""
    argv = command_line(replace(HARDWARE, firmware="uefi"))

    assert "if=pflash,unit=1,format=raw,file=/lab/uefi-vars.fd" in argv
    assert "name=opt/org.tianocore/IPv6PXESupport,string=n" in argv
    assert [True, True] == [word.endswith(",romfile=") for word in argv if word.startswith("virtio-net-pci")]


def test_a_machine_without_ipv4_boots_in_its_firmwares_own_order_unless_its_disk_is_ordered() -> None:
    """No index of QEMU's overrides what its variables hold, and its cards offer no PXE."""
    six = replace(HARDWARE, firmware="uefi", family=6)
    argv = command_line(six)

    assert {"nic0": -1, "nic1": -1, "disk0": -1} == boot_order("network", 2, 6)
    assert boot_order("disk", 2) == boot_order("disk", 2, 6)
    assert 3 == " ".join(argv).count("bootindex=-1")
    assert "menu=on,splash-time=4000" == argv[argv.index("-boot") + 1]
    assert "-boot" not in command_line(HARDWARE)
    assert {"name=opt/org.tianocore/IPv4PXESupport,string=n", "name=opt/org.tianocore/IPv6PXESupport,string=n"} <= {
        *argv
    }


@pytest.mark.parametrize(("loader", "pxe"), [("tftp", "y"), ("http", "n")])
def test_uefi_firmware_is_told_how_to_fetch_its_loader(loader: LoaderProtocol, pxe: str) -> None:
    """OVMF's cards offer PXE before HTTP boot, so for HTTP its PXE is switched off."""
    argv = command_line(replace(HARDWARE, firmware="uefi", loader=loader))

    assert f"name=opt/org.tianocore/IPv4PXESupport,string={pxe}" in argv


def test_only_uefi_takes_http_as_its_boot_device() -> None:
    """The BMC of a BIOS machine must not offer what the machine cannot do."""
    question = {"do": "check", "names": ["boot"], "values": ["http"]}

    assert {} == asyncio.run(Chassis(replace(HARDWARE, firmware="uefi"), {}).answer(question))
    with pytest.raises(Refused, match="boot cannot be set to 'http'"):
        asyncio.run(Chassis(HARDWARE, {}).answer(question))


def test_a_disk_that_holds_anything_is_not_zero(tmp_path: Path) -> None:
    """One byte anywhere is found with its place; holes and written zeros are not data."""
    disk = DiskImage(tmp_path / "disk.raw", 64 << 20)
    disk.make()
    empty = disk.first_data()
    with disk.path.open("r+b") as image:
        image.seek(5 << 20)
        image.write(bytes(1 << 20))
    zeros = disk.first_data()
    with disk.path.open("r+b") as image:
        image.seek((64 << 20) - 1)
        image.write(b"\x01")

    assert (None, None, (64 << 20) - 1) == (empty, zeros, disk.first_data())


def test_chassis_reads_back_what_the_lab_describes() -> None:
    """The description survives JSON unchanged."""
    document = json.loads(json.dumps(describe(HARDWARE, BMC)))

    assert (HARDWARE, BMC) == read_description(document)


def test_guid_is_sent_least_significant_byte_first() -> None:
    """IPMI 2.0, 20.8: a GUID goes over the wire in reverse of RFC 4122's order."""
    assert "33477c7c5d6062a03a5422d727e1f5d1" == guid("d1f5e127-d722-543a-a062-605d7c7c4733")


def test_bmc_settings_show_its_own_address() -> None:
    """`lan print` gets the address, netmask and MAC that the BMC really has."""
    settings = BMC.lan_settings()

    assert ("10.30.0.11", "255.255.255.0", "02:bc:00:00:00:11") == (
        settings["ip_addr"],
        settings["subnet_mask"],
        settings["mac_addr"],
    )


def test_bmc_configuration_keeps_the_password_out_of_the_command_line() -> None:
    """Only the user line holds the factory password; the programs it starts never see it."""
    lines = lan_configuration(BMC, "/usr/bin/python3", Path("/lab/chassis.sock")).splitlines()

    assert ['  user 2 true "admin" "factory" admin 10 md5'] == [line for line in lines if "factory" in line]


@pytest.mark.parametrize("password", ['say "hi"', "seventeen-letters", "", "new\nline"])
def test_bmc_password_that_the_simulator_would_misread_is_refused(password: str) -> None:
    """A quote, a line break, nothing, or more than 16 characters cannot be a factory password."""
    with pytest.raises(ValueError, match="factory password may have 1 to 16"):
        lan_configuration(replace(BMC, password=password), "/usr/bin/python3", Path("/lab/chassis.sock"))


def test_supervisor_doubles_per_cent_signs_and_quotes_arguments() -> None:
    """supervisord substitutes after a per cent sign and splits commands as a shell would."""
    text = configuration(Path("/rack"), [Program("one", ("/bin/echo", "100%", "two words"))])

    assert "command=/bin/echo 100%% 'two words'\n" in text
    assert "file=/rack/run/supervisor.sock\n" in text
    assert "files=/rack/units/*.conf\n" in text


def test_site_refuses_a_directory_with_odd_characters(tmp_path: Path) -> None:
    """A space in the path would break the BMC's command line, so it is refused before anything is made."""
    with pytest.raises(ValueError, match="only letters, digits"):
        VirtualSite(tmp_path / "my site")


def test_site_refuses_one_vlan_name_twice(tmp_path: Path) -> None:
    """Two VLANs of one name would share a bridge."""
    twice = Vlan("lan", ("10.1.0.1/24",))
    with pytest.raises(ValueError, match="each may be used once"):
        VirtualSite(tmp_path, vlans=(twice, twice))


def test_reused_process_id_is_left_alone() -> None:
    """A recorded process whose start time differs is another process: it counts as ended and is not signalled."""
    here = name_process(1)
    assert here is not None
    other = ProcessName(1, here.started + 1)

    assert (False, []) == (other.is_alive(), end_processes([other]))


def test_without_a_kernel_machines_are_emulated(tmp_path: Path) -> None:
    """KVM is chosen only after it booted a kernel, so with none to try it is not."""
    chosen = choose_accelerator(tmp_path / "vmlinuz")

    assert (EMULATION, KERNEL_OPTIONS) == (chosen.words, chosen.kernel_options)
    assert () == Accelerator(KVM, "a kernel booted").kernel_options
