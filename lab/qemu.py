"""The QEMU command line of one machine, and what it means; pure.

Measured facts behind it: virtio's BIOS option ROM is iPXE already, while OVMF brings its own virtio network driver,
so UEFI machines get no ROM and fetch their loader themselves, by TFTP (PXE) or by HTTP; which of both OVMF tries first
is told through fw_cfg (OvmfPkg, opt/org.tianocore/IPv4PXESupport: without PXE, HTTP boot is what a card offers), and so
is not to stall on PXE over IPv6 (IPv6PXESupport). `-nographic` sends SeaBIOS and iPXE to the serial console. Reboots
must work, so `-no-reboot` is absent; a guest that powers itself off makes QEMU exit, which is what the chassis reads
as power off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Firmware = Literal["bios", "uefi"]
BootSource = Literal["network", "disk"]
LoaderProtocol = Literal["tftp", "http"]

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
FIRST_NIC_SLOT, DISK_SLOT = 3, 9
"""Device numbers on PCI bus 0."""
LINK_LOCAL_MS = 4000
"""For how long the boot menu is offered to a machine without IPv4: OVMF's HTTP boot over IPv6 fails at once while its own
link-local address is being checked for duplicates (RFC 4862, section 5.4), which goes on meanwhile."""
SERIAL_LIMIT = 20
"""The longest serial number of a virtio disk in bytes (VIRTIO 1.2, 5.2.6.1, VIRTIO_BLK_T_GET_ID)."""


@dataclass(frozen=True)
class Nic:
    """A virtio network card and the tap it is plugged into."""

    mac: str
    tap: str


@dataclass(frozen=True)
class Hardware:
    """Everything QEMU must be told about one machine."""

    name: str
    uuid: str
    serial: str
    memory_mib: int
    cpus: int
    firmware: Firmware
    nics: tuple[Nic, ...]
    disk: Path
    directory: Path
    """Holds the machine's QMP socket, serial log and UEFI variables."""
    ipmi_host: str | None
    """Where the emulated BMC waits for QEMU's in-band (KCS) connection; None: there is no such way to the BMC."""
    ipmi_port: int
    accelerator: tuple[str, ...]
    """QEMU's `-accel` words, see `lab.accelerator`."""
    loader: LoaderProtocol = "tftp"
    """How UEFI firmware fetches its loader first; BIOS knows TFTP only."""
    family: int = 4
    """Of the addresses by which UEFI firmware boots; with 6 by HTTP alone, in the order that its variables hold."""

    @property
    def qmp_socket(self) -> Path:
        """The unix socket of QEMU's control protocol; belongs to the chassis."""
        return self.directory / "qmp.sock"

    @property
    def serial_log(self) -> Path:
        """All that the serial console ever said, over every start."""
        return self.directory / "serial.log"

    @property
    def uefi_variables(self) -> Path:
        """This machine's own copy of the UEFI variable store."""
        return self.directory / "uefi-vars.fd"


def boot_order(first: BootSource, nics: int, family: int = 4) -> dict[str, int]:
    """Return QEMU's `bootindex` (1 is tried first; -1: the firmware's own order) of every bootable device, by device id."""
    cards = [f"nic{number}" for number in range(nics)]
    if family == 6 and first == "network":
        return dict.fromkeys([*cards, "disk0"], -1)
    order = [*cards, "disk0"] if first == "network" else ["disk0", *cards]
    return {device: index for index, device in enumerate(order, start=1)}


def command_line(hardware: Hardware, first: BootSource = "network") -> list[str]:
    """Return the argv that starts the machine, trying `first` before the other boot source."""
    order = boot_order(first, len(hardware.nics), hardware.family)
    return [
        "qemu-system-x86_64",
        "-name", hardware.name,
        # The disk is virtio's; empty controllers cost every start a search.
        "-machine", "q35,sata=off,smbus=off",
        *hardware.accelerator,
        "-m", str(hardware.memory_mib),
        "-smp", str(hardware.cpus),
        "-uuid", hardware.uuid,
        "-smbios", f"type=1,manufacturer=Muster,product=VirtualMachine,serial={hardware.serial}",
        "-nodefaults", "-vga", "none", "-nographic", "-monitor", "none",
        "-chardev", f"file,id=serial0,path={hardware.serial_log},append=on",
        "-serial", "chardev:serial0",
        "-qmp", f"unix:{hardware.qmp_socket},server=on,wait=off",
        "-object", "rng-random,id=rng0,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=rng0,addr=0x8",
        *_firmware(hardware),
        *_nics(hardware.firmware, hardware.nics, order),
        "-drive", f"if=none,id=drive0,file={hardware.disk},format=raw,cache=unsafe,discard=unmap",
        "-device", f"virtio-blk-pci,id=disk0,drive=drive0,serial={hardware.serial},addr={DISK_SLOT:#x},bootindex={order['disk0']}",
        *_in_band(hardware),
    ]  # fmt: skip


def _in_band(hardware: Hardware) -> list[str]:
    if hardware.ipmi_host is None:
        return []
    return [
        "-chardev", f"socket,id=ipmi0,host={hardware.ipmi_host},port={hardware.ipmi_port},reconnect=1",
        "-device", "ipmi-bmc-extern,id=bmc0,chardev=ipmi0",
        "-device", "isa-ipmi-kcs,bmc=bmc0",
    ]  # fmt: skip


def _firmware(hardware: Hardware) -> list[str]:
    if hardware.firmware == "bios":
        return []
    pxe = hardware.family == 4 and hardware.loader == "tftp"
    wait = ["-boot", f"menu=on,splash-time={LINK_LOCAL_MS}"] if hardware.family == 6 else []
    return [
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}",
        "-drive", f"if=pflash,unit=1,format=raw,file={hardware.uefi_variables}",
        "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n",
        "-fw_cfg", f"name=opt/org.tianocore/IPv4PXESupport,string={'y' if pxe else 'n'}",
        *wait,
    ]  # fmt: skip


def _nics(firmware: Firmware, nics: Sequence[Nic], order: dict[str, int]) -> list[str]:
    rom = ",romfile=" if firmware == "uefi" else ""
    words: list[str] = []
    for number, nic in enumerate(nics):
        device = f"nic{number}"
        words += ["-netdev", f"tap,id=net{number},ifname={nic.tap},script=no,downscript=no"]
        where = f"mac={nic.mac},addr={number + FIRST_NIC_SLOT:#x},bootindex={order[device]}{rom}"
        words += ["-device", f"virtio-net-pci,id={device},netdev=net{number},{where}"]
    return words
