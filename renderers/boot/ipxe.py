"""iPXE scripts: the static start script, and what one machine is told to do next.

Every script ends in a decision: a machine that cannot reach its kernel falls through to its local disk.  Leaving iPXE
differs by firmware: BIOS boots the next device after `exit`, UEFI takes an exit code of 0 for "booted and came
back" and needs `exit 1` to try the next boot entry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from renderers import text

PLATFORMS = ("pcbios", "efi")
"""Values of iPXE's ${platform}."""
TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,256}")
OPTION = re.compile(r"[A-Za-z0-9._,:=/+@-]+")
DIGEST = re.compile(r"[0-9a-f]{64}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class Ephemeral:
    """What one machine needs to start the ephemeral system: where the image is, who it is, how to reach us.

    rack: address of the rack, as the machine sees it; port: the rack's port for machines.
    token: the boot token, which ends on the kernel command line.  kernel_options: words appended as they are.
    kernel_sha256, initrd_sha256, root_sha256: digests that name the image's files.  root_blake2b: of the root too, for a
    machine to check at a fifth of the work; it checks SHA-256 without.
    With mac, address and the rest of the lease None, iPXE fills in its own lease when the script runs.  It can do so for
    IPv4 only; a machine that is served by IPv6 needs address and prefix_length, and its netmask is not used.
    """

    rack: str
    port: int
    token: str
    kernel_sha256: str
    initrd_sha256: str
    root_sha256: str
    root_blake2b: str | None = None
    hostname: str = "muster"
    mac: str | None = None
    address: str | None = None
    netmask: str | None = None
    prefix_length: int | None = None
    gateway: str | None = None
    dns: str | None = None
    kernel_options: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """URL of the rack's port for machines."""
        return f"http://{text.bracketed(self.rack)}:{text.port(self.port)}"


def start(port: int = 5248, rack: str | None = None) -> str:
    """The first script, the same for every machine behind racks with this port.

    It asks the rack that DHCP named as next-server; DHCPv6 names none, so there the rack's address is written in.  A
    relative address would be shorter, but iPXE takes the first colon of an address for the end of a scheme, and a MAC
    has colons.
    """
    return text.fill("boot/start.ipxe.j2", port=port, rack=rack)


def local(platform: str, sanboot: bool = False) -> str:
    """Leave the network and boot from the disk. ValueError for a platform iPXE does not know.

    sanboot: on BIOS let iPXE start the first disk itself, for firmware that hangs when a network boot returns to it.
    """
    return text.fill("boot/local.ipxe.j2", efi=_is_efi(platform), sanboot=sanboot)


def poweroff(platform: str) -> str:
    """Switch the machine off; where iPXE cannot, it boots its disk instead of looping."""
    return text.fill("boot/poweroff.ipxe.j2", efi=_is_efi(platform), sanboot=False)


def ephemeral(machine: Ephemeral, platform: str) -> str:
    """Start the ephemeral system, for enlisting as for everything else: the token says which."""
    return text.fill(
        "boot/ephemeral.ipxe.j2",
        base=machine.base,
        kernel=_digest("kernel", machine.kernel_sha256),
        initrd=_digest("initrd", machine.initrd_sha256),
        command_line=" ".join(command_line(machine)),
        efi=_is_efi(platform),
        sanboot=False,
    )


def command_line(machine: Ephemeral) -> tuple[str, ...]:
    """The words of the kernel's command line. ValueError names a word that would be split or expanded."""
    if not TOKEN.fullmatch(machine.token):
        raise ValueError("boot token: must be 8 to 256 letters, digits and ._~- so that a command line can carry it")
    for word in machine.kernel_options:
        if not OPTION.fullmatch(word):
            raise ValueError(f"kernel option {word!r}: may hold letters, digits and ._,:=/+@- only; one word each")
    root = _digest("root", machine.root_sha256)
    return (
        # UEFI kernels find their initrd by this name; BIOS kernels ignore it.
        "initrd=initrd",
        "boot=muster",
        f"muster.root={machine.base}/images/{root}/root.squashfs",
        f"muster.root_sha256={root}",
        *((f"muster.root_blake2b={_digest('root', machine.root_blake2b)}",) if machine.root_blake2b else ()),
        f"muster.url={machine.base}/machine/v1",
        f"muster.token={machine.token}",
        *_ip(machine),
        f"BOOTIF=01-{'${netX/mac:hexhyp}' if machine.mac is None else _mac(machine.mac).replace(':', '-')}",
        *(("console=ttyS0,115200",) if not any(word.startswith("console=") for word in machine.kernel_options) else ()),
        *machine.kernel_options,
    )


def _ip(machine: Ephemeral) -> tuple[str, ...]:
    """The kernel's own static configuration (nfsroot.txt of the kernel): it spares klibc ten seconds of DHCP.

    That has no IPv6, so there the address is in a word of our own, and `ip` says the host name only.
    """
    hostname = text.host(machine.hostname)
    if ":" in machine.rack:
        return (f"ip=::::{hostname}::off", f"muster.ip6={_ip6(machine)}")
    if machine.address is None:
        return ("ip=${netX/ip}::${netX/gateway}:${netX/netmask}:" + hostname + "::off:${netX/dns}",)
    if machine.netmask is None:
        raise ValueError(f"machine {hostname}: address {machine.address} without a netmask; give both or neither")
    gateway = text.address(machine.gateway) if machine.gateway else ""
    dns = text.address(machine.dns) if machine.dns else ""
    return (f"ip={text.address(machine.address)}::{gateway}:{text.address(machine.netmask)}:{hostname}::off:{dns}",)


def _ip6(machine: Ephemeral) -> str:
    """ADDRESS/LENGTH,GATEWAY,DNS; the last two may be empty."""
    if machine.address is None or machine.prefix_length is None or not 1 <= machine.prefix_length <= 128:
        raise ValueError(
            f"machine {machine.hostname}: it is served by IPv6, so its address and prefix length must be known; they are"
            f" {machine.address} and {machine.prefix_length}"
        )
    for name, value in (("address", machine.address), ("gateway", machine.gateway), ("DNS server", machine.dns)):
        if value is not None and ":" not in text.address(value):
            raise ValueError(
                f"machine {machine.hostname}: its {name} {value} is not IPv6, and the rack's {machine.rack} is"
            )
    return f"{machine.address}/{machine.prefix_length},{machine.gateway or ''},{machine.dns or ''}"


def _digest(what: str, value: str) -> str:
    if not DIGEST.fullmatch(value):
        raise ValueError(f"{what}: {value!r} is no digest of 64 lower-case hexadecimal digits")
    return value


def _mac(value: str) -> str:
    if not MAC.fullmatch(value):
        raise ValueError(f"{value!r}: no MAC address of six lower-case bytes with colons")
    return value


def _is_efi(platform: str) -> bool:
    if platform not in PLATFORMS:
        raise ValueError(f"platform {platform!r}: unknown to iPXE; one of {', '.join(PLATFORMS)}")
    return platform == "efi"
