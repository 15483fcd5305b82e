"""
The Redfish host interface that SMBIOS announces: a type 42 record (DMTF DSP0134, 7.43) with a Redfish over IP record.

It says that this machine has a BMC that speaks Redfish, and where the *machine* reaches it: usually an address of a
network inside the box, which nobody else can reach. So it is no way to find the BMC's address on the network, and an
account can be made through it only by credential bootstrapping, which few BMCs allow. What it is good for is to tell
the operator that there is a Redfish BMC to be entered by hand.

The layout is that of DSP0270 (Redfish Host Interface Specification): 6, device descriptor; 7, protocol record.
"""

import ipaddress
import struct
import uuid
from dataclasses import dataclass

from .probe import Probe

HOST_INTERFACE = 42
NETWORK_HOST_INTERFACE = 0x40
REDFISH_OVER_IP = 0x04
ENTRIES = "/sys/firmware/dmi/entries"
# Service UUID, host's assignment, format, address and mask, service's discovery, format, address and mask, port, VLAN,
# length of the host name: 91 bytes, little-endian, unaligned.
_RECORD = struct.Struct("<16sBB16s16sBB16s16sHIB")
_DEVICES = {0x02: "USB", 0x03: "PCI", 0x04: "USB", 0x05: "PCI"}
_VERSIONS = {1: 4, 2: 16}


@dataclass(frozen=True)
class RedfishHost:
    """One Redfish service as the machine itself reaches it; `address` is None when the BMC chose not to say."""

    service_uuid: str
    device: str
    address: str | None
    port: int
    hostname: str

    def words(self) -> str:
        """In a sentence for the operator."""
        where = self.address or self.hostname or "an address that it does not say"
        return (
            f"SMBIOS announces a Redfish BMC (service {self.service_uuid}, from inside the machine over {self.device} at"
            f" {where} port {self.port}); enter its network address and account by hand"
        )


def parse(table: bytes) -> list[RedfishHost]:
    """The Redfish services in one type 42 structure; none for another structure, or one that is cut short."""
    if len(table) < 7 or table[0] != HOST_INTERFACE or table[4] != NETWORK_HOST_INTERFACE:
        return []
    formatted = table[: table[1]]
    device = _DEVICES.get(formatted[6], "its own network") if formatted[5] else "its own network"
    position = 6 + formatted[5]
    found = []
    count = formatted[position] if position < len(formatted) else 0
    position += 1
    for _ in range(count):
        if position + 2 > len(formatted):
            break
        kind, length = formatted[position], formatted[position + 1]
        record = formatted[position + 2 : position + 2 + length]
        position += 2 + length
        if kind == REDFISH_OVER_IP and len(record) == length and length >= _RECORD.size:
            found.append(_service(record, device))
    return found


def _service(record: bytes, device: str) -> RedfishHost:
    fields = _RECORD.unpack_from(record)
    length = _VERSIONS.get(fields[6])
    address = ipaddress.ip_address(fields[7][:length]) if length else None
    name = record[_RECORD.size : _RECORD.size + fields[11]].split(b"\0")[0].decode("ascii", "replace")
    return RedfishHost(
        # SMBIOS writes the first three fields of a UUID little-endian (DSP0134, 7.2.1).
        service_uuid=str(uuid.UUID(bytes_le=fields[0])),
        device=device,
        address=None if address is None or address.is_unspecified else str(address),
        port=fields[9],
        hostname=name,
    )


def read(probe: Probe) -> list[RedfishHost]:
    """Every Redfish service that this machine's SMBIOS announces; `dmi-sysfs` must be loaded."""
    found = []
    for name in probe.names(ENTRIES):
        if name.startswith(f"{HOST_INTERFACE}-"):
            try:
                table = probe.path(f"{ENTRIES}/{name}/raw").read_bytes()
            except OSError:
                continue
            found += parse(table)
    return found
