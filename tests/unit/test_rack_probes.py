"""Packets of probes: what is built can be read back, and no packet whatsoever breaks the reading."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.rack.probes import dhcp4, dhcp6, ntp, router_solicitation, tftp
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


def advertise_frame(
    mac: bytes, transaction: int, server: bytes, address: bytes | None, *, relayed: bool = False
) -> bytes:
    """An ADVERTISE as a server sends it; relayed: within a RELAY-REPL."""
    promised = dhcp6.option(5, address + bytes(8)) if address is not None else dhcp6.option(13, b"\0\2no")
    body = bytes([2]) + transaction.to_bytes(3) + dhcp6.option(1, dhcp6.duid_of(mac)) + dhcp6.option(2, server)
    body += dhcp6.option(3, mac[2:] + bytes(8) + promised) + dhcp6.option(59, b"http://[fd20::1]/x")
    if relayed:
        body = bytes([13, 0]) + bytes(32) + dhcp6.option(9, body)
    udp = struct.pack("!HHHH", 547, 546, 8 + len(body), 0) + body
    head = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + bytes(32)
    return mac + bytes(6) + b"\x86\xdd" + head + udp


transactions = st.integers(min_value=0, max_value=2**24 - 1)


@given(
    macs,
    transactions,
    st.binary(min_size=1, max_size=130),
    st.none() | st.binary(min_size=16, max_size=16),
    st.booleans(),
)
def test_an_advertisement_is_read(mac: bytes, number: int, server: bytes, address: bytes | None, relayed: bool) -> None:
    """Address, server's DUID and boot URL come out as they went in, relayed or not; for another client or question nothing."""
    message = dhcp6.message_in(advertise_frame(mac, number, server, address, relayed=relayed))
    found = dhcp6.parse_answer(message, dhcp6.duid_of(mac), number)

    assert found is not None
    assert (found.server, found.boot_file) == (server, "http://[fd20::1]/x")
    assert found.address == ("" if address is None else str(ipaddress.IPv6Address(address)))
    assert dhcp6.parse_answer(message, dhcp6.duid_of(mac), number ^ 1) is None
    assert dhcp6.parse_answer(message, dhcp6.duid_of(bytes([mac[0] ^ 1]) + mac[1:]), number) is None


@given(macs, transactions)
def test_a_relayed_solicit_names_its_client(mac: bytes, number: int) -> None:
    """The relay agent's message holds the link address, the client's link-local address, its MAC and its own message."""
    message = dhcp6.build_solicit(mac, number)
    relayed = dhcp6.build_relayed(message, mac, "fd20::1")
    options = dhcp6.parse_options(relayed[34:])

    assert (relayed[0], ipaddress.IPv6Address("fd20::1").packed) == (12, relayed[2:18])
    assert (b"\0\1" + mac, message) == (options[79], options[9])
    link_local = relayed[18:34]
    assert (b"\xfe\x80" + bytes(6), mac[0] ^ 2, mac[1:3] + b"\xff\xfe" + mac[3:]) == (
        link_local[:8],
        link_local[8],
        link_local[9:],
    )


@given(st.binary(max_size=200), st.integers(0, 300), macs, st.booleans())
def test_no_frame_breaks_the_reading_of_advertisements(noise: bytes, cut: int, mac: bytes, relayed: bool) -> None:
    """Noise, and a right frame cut anywhere, are read without an exception."""
    frame = advertise_frame(mac, 7, b"server", bytes(16), relayed=relayed)
    for message in (noise, dhcp6.message_in(noise), dhcp6.message_in(frame[:cut]), dhcp6.message_in(frame)[:cut]):
        dhcp6.parse_answer(message, dhcp6.duid_of(mac), 7)

    assert dhcp6.parse_answer(noise, dhcp6.duid_of(mac), 7) is None
