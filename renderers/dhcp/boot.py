"""What a booting DHCPv4 client is, and which boot file it is told: the same for every DHCP server.

Architectures are told by option 93 (RFC 4578, section 2.1; types of RFC 5970, section 3.3), UEFI HTTP boot also by the
vendor class `HTTPClient` (UEFI 2.10, section 24.7), iPXE by its user class (option 77).  The kinds exclude each other.
A subnet may switch an architecture off: such a client gets an address and no boot file, and iPXE on such a machine gets
none either, whoever has loaded it.
"""

from __future__ import annotations

from renderers import text
from renderers.intent import RackIntent, SubnetIntent

ARCHITECTURES = ("bios", "uefi-x64", "uefi-http")
"""What a subnet may switch off."""
LOADERS = {"bios": "undionly.kpxe", "uefi-x64": "snponly.efi"}
"""TFTP boot file by kind; both are in Debian's package `ipxe`."""
KINDS = ("ipxe", "uefi-http", "uefi-x64", "bios")
IPXE_LEASE_SECONDS = 3600
"""An ephemeral system takes iPXE's address over and never renews it, so it must outlast a commissioning."""

IPXE_OPTION, NO_PROXY_DHCP = 175, bytes.fromhex("b00101")
"""iPXE's own option, and in it `no-pxedhcp` (176): the offer is whole, so that iPXE does not wait three seconds for that of
a ProxyDHCP server beside it (ipxe.org, "DHCP options"; src/net/udp/dhcp.c)."""


def boot_files(intent: RackIntent, subnet: SubnetIntent) -> dict[str, str]:
    """Boot file by kind, for the kinds that are told one in the subnet.

    iPXE is left out when all architectures are switched off.  ValueError names an architecture that is none.
    """
    off = disabled(subnet)
    base = f"http://{text.bracketed(str(subnet.rack_address))}:{text.port(intent.ports.machine_http)}"
    files = {"ipxe": f"{base}/boot/v1/start.ipxe", "uefi-http": f"{base}/images/loader/snponly.efi", **LOADERS}
    return {kind: files[kind] for kind in KINDS if kind not in off and (kind != "ipxe" or off < set(ARCHITECTURES))}


def disabled(subnet: SubnetIntent) -> set[str]:
    """The architectures that are switched off. ValueError names one that is none."""
    for name in subnet.disabled_boot_architectures:
        if name not in ARCHITECTURES:
            raise ValueError(f"subnet {subnet.cidr}: {name!r} is no boot architecture; use {', '.join(ARCHITECTURES)}")
    return set(subnet.disabled_boot_architectures)


def ipxe_off(subnet: SubnetIntent) -> tuple[int, ...]:
    """Types of option 93 with which iPXE gets no boot file.

    iPXE that came by HTTP boot says the same as one that came by TFTP, so both must be switched off for it.
    """
    off = disabled(subnet)
    types: tuple[int, ...] = (0x0000,) if "bios" in off else ()
    return (*types, 0x0007, 0x0009, 0x0010) if {"uefi-x64", "uefi-http"} <= off else types
