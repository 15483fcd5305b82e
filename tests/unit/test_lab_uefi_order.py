"""The boot order of a machine without IPv4, as its firmware's variables hold it."""

import struct

import pytest

from lab.uefi_order import GLOBAL, STORE, six_first

ROOM = 2048
EMPTY = b"volume header pad" + STORE.bytes_le + bytes(12) + b"\xff" * ROOM
MAC = "52:54:00:06:00:11"


def variables(store: bytes) -> dict[str, bytes]:
    """Read a store as EDK II does: valid variables of the specification's own, by name."""
    at = store.index(STORE.bytes_le) + 28
    found = {}
    while store[at : at + 2] == b"\xaa\x55":
        state, attributes, name, data = store[at + 2], *struct.unpack("<I28xII", store[at + 4 : at + 44])
        assert (0x3F, 7, GLOBAL.bytes_le) == (state, attributes, store[at + 44 : at + 60])
        at += 60
        text = store[at : at + name].decode("utf-16-le").rstrip("\0")
        found[text] = store[at + name : at + name + data]
        at += -(-(name + data) // 4) * 4
    assert store[at:] == b"\xff" * len(store[at:])
    return found


def test_http_over_ipv6_comes_first_and_the_disk_second() -> None:
    """Two active entries with whole device paths; nothing else of the store changes."""
    made = six_first(EMPTY, MAC, nic=3, disk=9)
    found = variables(made)

    assert (len(EMPTY), EMPTY[: EMPTY.index(STORE.bytes_le) + 28]) == (
        len(made),
        made[: made.index(STORE.bytes_le) + 28],
    )
    assert {"Boot6000", "Boot6001", "BootOrder"} == set(found)
    assert (0x6000, 0x6001) == struct.unpack("<2H", found["BootOrder"])
    assert [(2, 1), (1, 1), (3, 11), (3, 13), (3, 24), (127, 255)] == nodes(found["Boot6000"], "IPv6")
    assert [(2, 1), (1, 1), (127, 255)] == nodes(found["Boot6001"], "Disk")
    assert bytes.fromhex("525400060011") in found["Boot6000"]


def nodes(option: bytes, description: str) -> list[tuple[int, int]]:
    """Types of the nodes of an active entry's device path."""
    attributes, length = struct.unpack("<IH", option[:6])
    label = description.encode("utf-16-le") + b"\0\0"
    path = option[6 + len(label) :]
    assert (1, label, length) == (attributes, option[6 : 6 + len(label)], len(path))
    seen = []
    while path:
        seen.append((path[0], path[1]))
        path = path[struct.unpack("<H", path[2:4])[0] :]
    return seen


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(b"\xff" * 4096, id="no store"),
        pytest.param(EMPTY.replace(b"\xff\xff", b"\xaa\x55", 1), id="has run"),
    ],
)
def test_variables_of_another_kind_are_refused(store: bytes) -> None:
    """They are not overwritten."""
    with pytest.raises(ValueError, match="UEFI variables"):
        six_first(store, MAC, nic=3, disk=9)
