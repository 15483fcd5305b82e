"""SMBIOS type 42: what a machine says of a Redfish BMC inside it."""

import ipaddress
import struct
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.agent import bmc, redfish_host
from app.agent.probe import Probe
from app.agent.redfish_host import RedfishHost
from app.agent.runner import Completed

SERVICE = "92384634-2938-2342-8820-489239905423"
# DSP0270: a USB network interface v2 (device type 4): length, vendor, product, serial number, MAC, characteristics,
# credential bootstrapping's handle.
DEVICE = bytes([0x04, 0x11]) + struct.pack("<HHB6sHH", 0x046B, 0xFFB0, 2, bytes.fromhex("021b5d000001"), 0, 0)


def address(text: str) -> bytes:
    """An address in its sixteen bytes; IPv4 stands first."""
    return ipaddress.ip_address(text).packed.ljust(16, b"\0")


def record(service: str = "169.254.3.254", form: int = 1, name: bytes = b"bmc.local", port: int = 443) -> bytes:
    """A Redfish over IP protocol record (DSP0270), field by field."""
    return (
        uuid.UUID(SERVICE).bytes_le
        + bytes([0x01, form]) + address("169.254.3.1" if form == 1 else "fe80::1") + address("255.255.255.0")
        + bytes([0x01, form]) + address(service) + address("255.255.255.0")
        + port.to_bytes(2, "little") + (7).to_bytes(4, "little")
        + bytes([len(name)]) + name
    )  # fmt: skip


def table(*records: bytes, kind: int = 0x40, protocol: int = 0x04) -> bytes:
    """A type 42 structure (DSP0134, 7.43) with the records, and the two zero bytes that end its strings."""
    body = bytes([kind, len(DEVICE)]) + DEVICE + bytes([len(records)])
    body += b"".join(bytes([protocol, len(one)]) + one for one in records)
    return bytes([42, 4 + len(body), 0x2A, 0x00]) + body + b"\0\0"


def test_a_redfish_over_ip_record_is_read() -> None:
    """UUID, address, port and name are where the specification puts them, and the UUID's byte order is SMBIOS's."""
    expected = RedfishHost(SERVICE, "USB", "169.254.3.254", 443, "bmc.local")

    assert 91 == len(record(name=b""))
    assert [expected] == redfish_host.parse(table(record()))


def test_addresses_of_both_kinds_and_none() -> None:
    """IPv6 takes all sixteen bytes; an address that is not said is None."""
    six, none, zero = redfish_host.parse(
        table(record("fe80::2", form=2, name=b""))
    ), redfish_host.parse(table(record("0.0.0.0", form=0))), redfish_host.parse(table(record("0.0.0.0")))  # fmt: skip

    assert ["fe80::2", None, None] == [one[0].address for one in (six, none, zero)]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b"", id="empty"),
        pytest.param(table(record(), kind=0x04), id="a KCS host interface"),
        pytest.param(table(record(), protocol=0x02), id="an IPMI protocol record"),
        pytest.param(table(), id="no record"),
        pytest.param(table(record())[:60], id="cut short"),
        pytest.param(b"\x26" + table(record())[1:], id="another type"),
        *[
            pytest.param(table(record())[:length], id=f"first {length} bytes")
            for length in (1, 6, 7, 8, 24, 25, 26, 110)
        ],
    ],
)
def test_what_is_no_redfish_record_is_left_out(other: bytes) -> None:
    """Other structures and broken ones are nothing, and no error."""
    assert [] == redfish_host.parse(other)


def test_the_operator_is_told_to_enter_it(tmp_path: Path) -> None:
    """A machine without in-band IPMI whose SMBIOS announces Redfish says so in the reason it enlists with."""
    folder = tmp_path / "sys/firmware/dmi/entries/42-0"
    folder.mkdir(parents=True)
    (folder / "raw").write_bytes(table(record()))

    def tool(argv: Sequence[str], seconds: float) -> Completed:
        return Completed(tuple(argv), 0, b"", b"")

    found, reason = bmc.read(Probe(tmp_path, tool))

    assert found is None
    assert reason is not None
    assert f"Redfish BMC (service {SERVICE}, from inside the machine over USB at 169.254.3.254 port 443)" in reason
    assert "enter its network address and account by hand" in reason
