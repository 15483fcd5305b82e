"""What an operator enters in the setup of a UEFI machine on a site without IPv4: boot by HTTP over IPv6, then the disk.

    variables.write_bytes(six_first(OVMF_VARS.read_bytes(), mac, nic=3, disk=9))

OVMF tries HTTP over IPv4 before HTTP over IPv6, and gives up after a minute; at every boot, and once more when a boot
script sends the machine to its disk.  Its order cannot be told over fw_cfg, where both are one card.  So the two entries
are in its variables before it starts the first time; what it finds itself it puts behind them (UEFI 2.10, section 3.1).
The store is EDK II's (MdeModulePkg/Include/Guid/VariableFormat.h), which has no checksums over variables.
"""

from __future__ import annotations

import struct
import uuid

GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
"""EFI_GLOBAL_VARIABLE (UEFI 2.10, section 3.3)."""
STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")
"""EDK II's gEfiAuthenticatedVariableGuid, which begins a store of variables."""
STORE_HEADER = 28
VARIABLE_HEADER = 60
ERASED = b"\xff"
ACTIVE = 1
"""LOAD_OPTION_ACTIVE."""
KEPT_AND_SEEN = 7
"""Non-volatile, seen by boot services and at run time."""
END = bytes.fromhex("7fff0400")


def six_first(store: bytes, mac: str, *, nic: int, disk: int) -> bytes:
    """Firmware variables with the order entered. nic, disk: their device numbers on PCI bus 0.

    ValueError when these are no variables of a firmware that has not run.
    """
    ways = (("IPv6", _pci(nic) + _mac(mac) + _ipv6() + _uri()), ("Disk", _pci(disk)))
    written = b"".join(_variable(f"Boot{0x6000 + number:04X}", _option(*way)) for number, way in enumerate(ways))
    written += _variable("BootOrder", struct.pack("<2H", 0x6000, 0x6001))
    start = store.find(STORE.bytes_le) + STORE_HEADER
    if start < STORE_HEADER or store[start : start + len(written)].strip(ERASED):
        raise ValueError(
            "UEFI variables: no EDK II store, or not an empty one; take those of a firmware that has not run"
        )
    return store[:start] + written + store[start + len(written) :]


def _variable(name: str, data: bytes) -> bytes:
    """AUTHENTICATED_VARIABLE_HEADER, name, data; the next one begins at a multiple of four."""
    text = name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<HBBI8x16x4xII", 0x55AA, 0x3F, 0, KEPT_AND_SEEN, len(text), len(data)) + GLOBAL.bytes_le
    whole = head + text + data
    return whole + ERASED * (-len(whole) % 4)


def _option(description: str, path: bytes) -> bytes:
    """EFI_LOAD_OPTION (UEFI 2.10, section 3.1.3)."""
    path += END
    return struct.pack("<IH", ACTIVE, len(path)) + description.encode("utf-16-le") + b"\0\0" + path


def _pci(device: int) -> bytes:
    """PciRoot(0x0)/Pci(DEVICE,0x0); the nodes of a path are in UEFI 2.10, section 10.3."""
    return struct.pack("<BBHII", 2, 1, 12, 0x0A0341D0, 0) + struct.pack("<BBHBB", 1, 1, 6, 0, device)


def _mac(mac: str) -> bytes:
    return struct.pack("<BBH32sB", 3, 11, 37, bytes.fromhex(mac.replace(":", "")), 1)


def _ipv6() -> bytes:
    return struct.pack("<BBH32xHHHBB16x", 3, 13, 60, 0, 0, 0, 0, 64)


def _uri() -> bytes:
    return struct.pack("<BBH", 3, 24, 4)
