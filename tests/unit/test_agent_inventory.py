"""What commission scripts make of captured outputs, and how their failures are told."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.agent import cmdline, commission, disks, inventory
from app.agent.errors import AgentError, CommandFailed
from app.agent.inventory import cpu, firmware, lldp, memory, nics, pci
from app.agent.probe import Probe
from app.agent.runner import OUTPUT_LIMIT, Completed, run

DATA = Path(__file__).parent / "data" / "agent"


def text(name: str) -> str:
    return (DATA / name).read_text()


def canned(outputs: dict[str, str]) -> Any:
    """A runner that answers from a table of command lines; anything else is a program that is not there."""

    def answer(argv: Sequence[str], seconds: float) -> Completed:
        line = " ".join(argv)
        if line in outputs:
            return Completed(tuple(argv), 0, outputs[line].encode(), b"")
        return Completed(tuple(argv), 127, b"", f"{argv[0]}: no such program".encode())

    return answer


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_cpu_of_a_two_socket_server() -> None:
    """Sockets, cores and threads are counted, the highest clock is taken, and the nodes keep their own CPUs."""
    nodes = {
        1: ("8-15,24-31", "Node 1 MemTotal:       65970692 kB\n"),
        0: ("0-7,16-23", "Node 0 MemTotal:       65805152 kB\n"),
    }

    found = cpu.parse(text("lscpu-numa.json"), "cpu MHz\t\t: 800.0\n", nodes)

    assert {
        "model": "Intel(R) Xeon(R) Silver 4110 CPU @ 2.10GHz",
        "architecture": "amd64",
        "sockets": 2,
        "cores": 16,
        "threads": 32,
        "mhz": 3000,
        "numa": [
            {"node": 0, "cpus": [*range(0, 8), *range(16, 24)], "memory_mib": 64262},
            {"node": 1, "cpus": [*range(8, 16), *range(24, 32)], "memory_mib": 64424},
        ],
    } == found


def test_cpu_of_a_virtual_machine() -> None:
    """Without a highest clock the present one counts; without nodes the list is empty."""
    found = cpu.parse(text("lscpu-vm.json"), "processor\t: 0\ncpu MHz\t\t: 2199.998\n", {})

    assert (found["mhz"], found["cores"], found["threads"], found["numa"]) == (2200, 2, 2, [])
    assert cpu.parse(text("lscpu-vm.json"), "", {})["mhz"] is None


def test_memory_counts_installed_blocks() -> None:
    """Online memory blocks give the installed size; without them MemTotal does."""
    assert memory.parse("8000000", 8, "MemTotal: 987654 kB\n") == {"total_mib": 1024}
    assert memory.parse(None, 0, "MemTotal:         987654 kB\nMemFree: 1 kB\n") == {"total_mib": 964}


def test_memory_that_cannot_be_read_is_an_error() -> None:
    """No source at all is said, not guessed."""
    with pytest.raises(AgentError, match="no MemTotal"):
        memory.parse(None, 0, "")


def test_disks_leave_out_what_is_none() -> None:
    """Loop, optical, zram and empty devices are no disks; serial numbers come from sysfs where udev knows none."""
    found = disks.parse(
        text("lsblk-md-lvm.json"),
        {"nvme0n1": ["nvme-eui.36344730", "nvme-Dell_Ent_NVMe_P5600_PHAB02_1", "nvme-Dell_Ent_NVMe_P5600_PHAB02"]},
        {"vda": "disk0\n"},
    )

    assert [disk.name for disk in found] == ["sda", "nvme0n1", "vda"]
    assert [disk.by_id for disk in found] == [None, "/dev/disk/by-id/nvme-Dell_Ent_NVMe_P5600_PHAB02", None]
    assert [disk.serial for disk in found] == ["BTYF01", "PHAB02", "disk0"]
    assert [disk.block_size for disk in found] == [512, 4096, 512]
    assert [disk.rotational for disk in found] == [False, False, True]


def test_disks_script_follows_by_id_links(tmp_path: Path) -> None:
    """A disk's stable name is found by where the links of /dev/disk/by-id lead."""
    tree(tmp_path, {"sys/block/vda/serial": "disk0\n"})
    links = tmp_path / "dev/disk/by-id"
    links.mkdir(parents=True)
    (links / "virtio-disk0").symlink_to("../../vda")
    (links / "virtio-disk0-part1").symlink_to("../../vda1")
    probe = Probe(tmp_path, canned({" ".join(disks.LSBLK): text("lsblk-md-lvm.json")}))
    collect = inventory.find("disks")

    assert collect is not None
    result = collect(probe)
    assert result is not None
    assert result["disks"][2] == {
        "name": "vda",
        "path": "/dev/vda",
        "by_id": "/dev/disk/by-id/virtio-disk0",
        "size_bytes": 4294967296,
        "model": None,
        "serial": "disk0",
        "rotational": True,
        "block_size": 512,
    }


def test_pci_names_numbers_and_drivers() -> None:
    """A name with brackets of its own keeps them; a device without a driver has none."""
    found = pci.parse(text("lspci.txt"))

    assert found[0] == {
        "address": "0000:00:00.0",
        "class_id": "0600",
        "class": "Host bridge",
        "vendor_id": "8086",
        "device_id": "1237",
        "vendor": "Intel Corporation",
        "product": "440FX - 82441FX PMC [Natoma]",
        "driver": None,
    }
    assert [device["address"] for device in found] == ["0000:00:00.0", "0000:00:03.0", "0000:3b:00.1"]
    assert found[2]["driver"] == "i40e"


def test_nics_of_a_machine(tmp_path: Path) -> None:
    """Only interfaces with a device count; each has its permanent MAC, its PCI device, and the speed if it is known."""
    tree(
        tmp_path,
        {
            "sys/devices/pci0000:00/0000:00:03.0/virtio0/net/ens3/carrier": "1\n",
            "sys/devices/pci0000:00/0000:00:03.0/virtio0/net/ens3/speed": "-1\n",
            "sys/devices/pci0000:3a/0000:3b:00.1/net/eno1/carrier": "0\n",
            "sys/devices/pci0000:3a/0000:3b:00.1/net/eno1/speed": "10000\n",
            "sys/bus/pci/devices/0000:00:03.0/numa_node": "-1\n",
            "sys/bus/pci/devices/0000:3b:00.1/numa_node": "1\n",
            "sys/class/net/lo/mtu": "65536\n",
        },
    )
    devices = tmp_path / "sys/devices"
    net = tmp_path / "sys/class/net"
    for name, folder in {"ens3": "pci0000:00/0000:00:03.0/virtio0", "eno1": "pci0000:3a/0000:3b:00.1"}.items():
        (devices / folder / "net" / name / "device").symlink_to(devices / folder)
        (net / name).symlink_to(devices / folder / "net" / name)
    driver = devices / "pci0000:00/0000:00:03.0/virtio0/driver"
    driver.symlink_to("../../../../bus/virtio/drivers/virtio_net")
    probe = Probe(
        tmp_path,
        canned(
            {
                "ip -j addr": text("ip-addr.json"),
                "lspci -vmmnnDk": text("lspci.txt"),
                "ethtool -i eno1": text("ethtool-i40e.txt"),
            }
        ),
    )

    eno1, ens3 = nics.collect(probe)["nics"]

    assert eno1 == {
        "name": "eno1",
        "mac": "3c:ec:ef:00:11:22",
        "driver": "i40e",
        "speed_mbps": 10000,
        "link": False,
        "mtu": 9000,
        "addresses": [],
        "pci_address": "0000:3b:00.1",
        "vendor": "Intel Corporation",
        "product": "Ethernet Controller X710 for 10GbE SFP+",
        "firmware": "8.30 0x8000a49d 1.2926.0",
        "numa_node": 1,
    }
    assert (
        ens3["name"],
        ens3["driver"],
        ens3["speed_mbps"],
        ens3["link"],
        ens3["addresses"],
        ens3["pci_address"],
        ens3["numa_node"],
    ) == ("ens3", "virtio_net", None, True, ["10.20.0.100/24"], "0000:00:03.0", None)


def test_firmware_leaves_out_placeholders() -> None:
    """What a vendor did not fill in is nothing, not a serial number that a thousand machines share."""
    fields: dict[str, str | None] = {
        "bios_vendor": "SeaBIOS",
        "bios_version": "1.16.2",
        "bios_date": "04/01/2014",
        "sys_vendor": "To Be Filled By O.E.M.",
        "product_name": "Standard PC",
        "product_serial": "Not Specified",
        "product_uuid": "4C4C4544-0042-3510-8052-B4C04F4E3232",
    }

    found = firmware.parse("bios", fields)

    assert found == {
        "type": "bios",
        "vendor": "SeaBIOS",
        "version": "1.16.2",
        "date": "04/01/2014",
        "system": {
            "manufacturer": None,
            "product": "Standard PC",
            "serial": None,
            "uuid": "4c4c4544-0042-3510-8052-b4c04f4e3232",
        },
    }


@pytest.mark.parametrize(
    "value", [None, "", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"]
)
def test_an_unset_uuid_is_none(value: str | None) -> None:
    """SMBIOS has two values for "no UUID", and neither may identify a machine."""
    assert firmware.system_uuid(value) is None


def test_lldp_neighbours() -> None:
    """The port VLAN wins over other VLANs; what a switch does not say is empty."""
    assert lldp.parse(text("lldp.json")) == [
        {
            "interface": "eno1",
            "chassis_id": "44:f4:77:00:00:01",
            "chassis_name": "tor-a1",
            "port_id": "Ethernet7",
            "port_description": "to node7",
            "vlan": 10,
        },
        {
            "interface": "eno2",
            "chassis_id": "sw9",
            "chassis_name": "",
            "port_id": "17",
            "port_description": "",
            "vlan": None,
        },
    ]


@pytest.mark.parametrize("silence", ['{"lldp": [{}]}', '{"lldp": []}', "{}", ""])
def test_lldp_without_neighbours(silence: str) -> None:
    """Having heard nothing is an empty list in each of lldpcli's spellings."""
    assert lldp.parse(silence) == []


def test_lshw_output_is_kept_raw() -> None:
    """The stored output is XML from its first byte, and there is no result."""
    probe = Probe(runner=canned({"lshw -xml -quiet": '<?xml version="1.0"?>\n<list/>\n'}))

    outcome = commission.run_script("lshw", 5, probe)

    assert (
        outcome.status,
        outcome.exit_code,
        outcome.stdout,
        outcome.result,
    ) == ("passed", 0, b'<?xml version="1.0"?>\n<list/>\n', None)


def test_a_missing_program_fails_its_script_only() -> None:
    """The outcome names the program and keeps the exit code; nothing is raised."""
    outcome = commission.run_script("pci", 5, Probe(runner=canned({})))

    assert (outcome.status, outcome.exit_code, outcome.result) == ("failed", 127, None)
    assert b"`lspci -vmmnnDk` ended with 127: lspci: no such program" in outcome.stderr


def test_an_unreadable_answer_fails_with_its_traceback() -> None:
    """Output that a script cannot parse is a failed script whose error shows where."""
    outcome = commission.run_script("cpu", 5, Probe(runner=canned({"lscpu -J": "not json"})))

    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert b"JSONDecodeError" in outcome.stderr
    assert outcome.stdout == b"$ lscpu -J\nnot json\n"


def test_an_unknown_script_is_skipped() -> None:
    """A script that this agent does not have is said so, with those that it has."""
    outcome = commission.run_script("quantum", 5)

    assert (outcome.status, outcome.exit_code) == ("skipped", None)
    assert b"no script 'quantum'" in outcome.stderr


def test_a_command_that_hangs_times_out() -> None:
    """At the script's deadline its command is killed and the script is timed out, without an exit code."""

    def hanging(argv: Sequence[str], seconds: float) -> Completed:
        return run(["sleep", "30"], seconds)

    started = time.monotonic()
    outcome = commission.run_script("lshw", 0.3, Probe(runner=hanging, seconds=0.3))

    assert (outcome.status, outcome.exit_code) == ("timedout", None)
    assert time.monotonic() - started < 5


def test_a_flood_of_output_is_cut(tmp_path: Path) -> None:
    """A command may say more than 1 MiB; it ends by itself, and the first MiB is kept."""
    done = run(["head", "-c", str(3 * OUTPUT_LIMIT), "/dev/zero"], 20)

    assert (done.exit_code, len(done.stdout)) == (0, OUTPUT_LIMIT)


def test_a_failed_command_names_itself() -> None:
    """The error has the command, the exit code and what was said on stderr."""
    probe = Probe()

    with pytest.raises(
        CommandFailed, match=r"`ls /nonexistent` ended with 2: ls: cannot access '/nonexistent'"
    ) as info:
        probe.run(["ls", "/nonexistent"])
    assert info.value.exit_code == 2


def test_command_line_of_a_machine() -> None:
    """The address, the token, the interface that booted and the host name are found; the token is not shown."""
    boot = cmdline.parse(
        "boot=muster muster.root=http://10.20.0.2:5248/images/ab/root.squashfs quiet"
        " muster.url=http://10.20.0.2:5248/machine/v1/ muster.token=s3cret"
        " ip=10.20.0.100::10.20.0.1:255.255.255.0:node7::off:10.20.0.2 BOOTIF=01-52-54-00-AA-00-01 console=ttyS0,115200"
    )

    assert (
        boot.url,
        boot.token,
        boot.boot_mac,
        boot.hostname,
    ) == ("http://10.20.0.2:5248/machine/v1", "s3cret", "52:54:00:aa:00:01", "node7")
    assert "s3cret" not in repr(boot)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("quiet muster.url=http://x/y", "muster.token"),
        ("muster.token=t", "muster.url"),
        ("muster.token=t muster.url=file:///etc/passwd", "not an http"),
    ],
)
def test_a_command_line_that_lacks_something(line: str, complaint: str) -> None:
    """What is missing is named."""
    with pytest.raises(AgentError, match=complaint):
        cmdline.parse(line)
