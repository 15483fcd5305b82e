"""Packets of probes: what is built can be read back, and no packet whatsoever breaks the reading."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.rack.probes import dhcp4, ntp, router_solicitation, tftp
from workers.rack.probes.base import ProbeFailure
from workers.rack.probing import client_mac

macs = st.binary(min_size=6, max_size=6)
numbers = st.integers(min_value=0, max_value=2**32 - 1)


def offer_frame(mac: bytes, transaction: int, options: dict[int, bytes], boot: bytes = b"undionly.kpxe") -> bytes:
    """An OFFER of 10.20.0.100 as a server sends it."""
    bootp = struct.pack(
        "!BBBBIHH4s4s4s4s16s64s128s",
        *(2, 1, 6, 0, transaction, 0, 0x8000, bytes(4), bytes([10, 20, 0, 100]), bytes([10, 20, 0, 1]), bytes(4)),
        *(mac + bytes(10), bytes(64), boot),
    )
    body = bootp + dhcp4.COOKIE
    for code, value in options.items():
        body += bytes([code, len(value)]) + value
    body += b"\xff"
    udp = struct.pack("!HHHH", 67, 68, 8 + len(body), 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(body), 0, 0, 64, 17, 0, bytes(4), bytes(4))
    return mac + bytes(6) + b"\x08\x00" + head + udp + body


@given(macs, numbers, st.integers(min_value=1, max_value=65535))
def test_a_discover_is_a_right_packet(mac: bytes, transaction: int, port: int) -> None:
    """Broadcast flag, our MAC and number, message type 1, and checksums that add up to zero (RFC 1071)."""
    frame = dhcp4.build_discover(mac, transaction, port)
    head, udp = frame[14:34], frame[34:]
    pseudo = head[12:20] + struct.pack("!BBH", 0, 17, len(udp))

    assert (dhcp4.checksum(head), dhcp4.checksum(pseudo + udp)) == (0, 0)
    assert (frame[:6], frame[6:12], struct.unpack("!H", udp[2:4])[0]) == (b"\xff" * 6, mac, port)
    assert (struct.unpack("!I", udp[12:16])[0], udp[18] & 0x80, udp[36:42]) == (transaction, 0x80, mac)
    assert dhcp4.parse_options(udp[8 + 240 :])[53] == b"\x01"


@given(macs, numbers, st.binary(min_size=4, max_size=4), st.dictionaries(st.integers(60, 80), st.binary(max_size=60)))
def test_an_offer_is_read(mac: bytes, transaction: int, server: bytes, more: dict[int, bytes]) -> None:
    """Address, server, boot file and every option come out as they went in."""
    frame = offer_frame(mac, transaction, {53: b"\x02", 54: server, **more})
    offer = dhcp4.parse_offer(frame, mac, transaction)

    assert offer is not None
    assert (offer.address, offer.next_server, offer.boot_file) == ("10.20.0.100", "10.20.0.1", "undionly.kpxe")
    assert offer.server == ".".join(str(byte) for byte in server)
    assert more.items() <= offer.options.items()


@given(macs, numbers, numbers)
def test_an_offer_for_somebody_else_is_not_ours(mac: bytes, asked: int, answered: int) -> None:
    """Another number or another MAC does not count."""
    frame = offer_frame(mac, answered, {53: b"\x02", 54: bytes(4)})
    other = bytes([mac[0] ^ 1]) + mac[1:]

    assert (dhcp4.parse_offer(frame, mac, asked) is not None) == (asked == answered)
    assert dhcp4.parse_offer(frame, other, answered) is None


@given(st.binary(max_size=400), st.integers(0, 420), macs)
def test_no_frame_breaks_the_reading(noise: bytes, cut: int, mac: bytes) -> None:
    """Noise, and a right frame cut anywhere, are read without an exception."""
    frame = offer_frame(mac, 7, {53: b"\x02", 54: bytes(4)})

    assert dhcp4.parse_offer(noise, mac, 7) is None
    assert dhcp4.parse_offer(frame[: min(cut, 270)], mac, 7) is None
    assert router_solicitation.parse_advertisement(noise[:69]) is None
    dhcp4.parse_options(noise)


@given(st.binary(max_size=600))
def test_a_tftp_answer_is_a_block_or_a_failure(noise: bytes) -> None:
    """Only block 1 is content; an error carries the server's words; all else fails."""
    if noise[:4] == b"\x00\x03\x00\x01" and len(noise) <= 516:
        assert tftp.parse_block(noise) == noise[4:]
    else:
        with pytest.raises(ProbeFailure):
            tftp.parse_block(noise)
    assert tftp.parse_block(b"\x00\x03\x00\x01" + noise[:512]) == noise[:512]
    with pytest.raises(ProbeFailure, match="not found"):
        tftp.parse_block(b"\x00\x05\x00\x01not found\x00")


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=60), st.integers(1, 15))
def test_an_ntp_answer_must_be_to_our_question(cookie: bytes, noise: bytes, stratum: int) -> None:
    """Mode 4 with our own bytes given back and a clock that is set; nothing else."""
    right = bytes([0x24, stratum]) + bytes(22) + cookie + bytes(8) + b"\x01" * 8

    assert ntp.parse_answer(right, cookie) == stratum
    for wrong in (
        bytes([0x23]) + right[1:],
        right[:24] + bytes([cookie[0] ^ 1]) + right[25:],
        right[:1] + b"\x10" + right[2:],
    ):
        with pytest.raises(ProbeFailure):
            ntp.parse_answer(wrong, cookie)
    with pytest.raises(ProbeFailure):
        ntp.parse_answer(noise[:47], cookie)


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_rack_asks_with_one_mac_of_its_own(one: str, other: str) -> None:
    """Locally administered, unicast, the same each time, different between racks."""
    first = bytes.fromhex(client_mac(one).replace(":", ""))

    assert (first[0] & 0x03, client_mac(one)) == (0x02, client_mac(one))
    assert (client_mac(one) == client_mac(other)) == (one == other)
