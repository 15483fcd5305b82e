"""Asks for an address as a machine would: DISCOVER from the served interface, without taking what is offered.

Frames go out by AF_PACKET, because a machine without an address has no socket to ask from, and because Kea on the same
interface sees them only there.  The broadcast flag is set (RFC 2131, section 4.1), so the answer comes back without an
address or an ARP entry.  On a relayed VLAN the question is one that a relay agent passes on: it carries the agent's
address (giaddr), and the answer goes to port 67 of that.  Only an OFFER with our transaction number and our own server
identifier counts: a foreign DHCP server must not make a deaf one look well.  Kea keeps no lease for a DISCOVER.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text

TRIES = 2
TRY_SECONDS = 1.2
BROADCAST_MAC = b"\xff" * 6
COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER = 1, 2
_ETHERTYPE_IPV4 = 0x0800
_UDP = 17
_BOOTP = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_ALL = 0x0003
_LARGEST = struct.pack("!BBH", 57, 2, 1472)
"""The largest message that is taken (RFC 2132, section 9.10): of the least, 576 bytes, long options may fall out."""


@dataclass(frozen=True)
class Offered:
    """The part of an OFFER that is worth telling."""

    address: str
    server: str
    next_server: str
    boot_file: str
    options: dict[int, bytes]


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse_mac(mac: str) -> bytes:
    """Six bytes.  ValueError for anything else."""
    parts = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(parts) != 6:
        raise ValueError(f"MAC {mac!r}: six bytes, as in 02:00:00:00:00:01")
    return parts


def build_discover(mac: bytes, transaction: int, port: int = 67, giaddr: str | None = None, server: str = "") -> bytes:
    """A whole Ethernet frame with a DHCPDISCOVER (RFC 2131, table 5); one relayed by `giaddr` to `server` (RFC 1542)."""
    source, target, hops, source_port = bytes(4), b"\xff" * 4, 0, 68
    if giaddr is not None:
        source, target = ipaddress.IPv4Address(giaddr).packed, ipaddress.IPv4Address(server).packed
        hops, source_port = 1, 67
    relay = source if hops else bytes(4)
    addresses = (*(bytes(4),) * 3, relay)
    bootp = _BOOTP.pack(1, 1, 6, hops, transaction, 0, 0x8000, *addresses, mac + bytes(10), bytes(64), bytes(128))
    options = bytes([53, 1, DISCOVER]) + bytes([55, 5, 1, 3, 6, 66, 67]) + _LARGEST + b"\xff"
    payload = (bootp + COOKIE + options).ljust(300, b"\0")
    length = 8 + len(payload)
    pseudo = source + target + struct.pack("!BBH", 0, _UDP, length)
    udp = struct.pack("!HHHH", source_port, port, length, 0)
    # A checksum of zero would mean "none" (RFC 768).
    udp = struct.pack("!HHHH", source_port, port, length, checksum(pseudo + udp + payload) or 0xFFFF)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, 20 + length, 0, 0, 64, _UDP, 0, source, target)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return BROADCAST_MAC + mac + struct.pack("!H", _ETHERTYPE_IPV4) + head + udp + payload


def parse_offer(frame: bytes, mac: bytes, transaction: int) -> Offered | None:
    """The OFFER in a frame if it answers this question; None for everything else, however malformed."""
    if len(frame) < 14 + 20 + 8 + _BOOTP.size + 4 or frame[12:14] != b"\x08\x00":
        return None
    packet = frame[14:]
    head = (packet[0] & 0x0F) * 4
    if packet[0] >> 4 != 4 or packet[9] != _UDP or head < 20 or len(packet) < head + 8 + _BOOTP.size + 4:
        return None
    if struct.unpack("!H", packet[head + 2 : head + 4])[0] not in (67, 68):
        return None
    bootp = packet[head + 8 :]
    fields = _BOOTP.unpack(bootp[: _BOOTP.size])
    if fields[0] != 2 or fields[4] != transaction or fields[11][:6] != mac:
        return None
    if bootp[_BOOTP.size : _BOOTP.size + 4] != COOKIE:
        return None
    options = parse_options(bootp[_BOOTP.size + 4 :])
    if options.get(53) != bytes([OFFER]) or len(options.get(54, b"")) != 4:
        return None
    return Offered(
        address=str(ipaddress.IPv4Address(fields[8])),
        server=str(ipaddress.IPv4Address(options[54])),
        next_server=str(ipaddress.IPv4Address(fields[9])),
        boot_file=fields[13].split(b"\0")[0].decode("ascii", "replace"),
        options=options,
    )


def parse_options(data: bytes) -> dict[int, bytes]:
    """Options by code up to the end mark (RFC 2132); long ones joined (RFC 3396); a cut one ends the reading."""
    found: dict[int, bytes] = {}
    place = 0
    while place < len(data) and data[place] != 255:
        if data[place] == 0:
            place += 1
            continue
        if place + 2 > len(data) or place + 2 + data[place + 1] > len(data):
            break
        code, length = data[place], data[place + 1]
        found[code] = found.get(code, b"") + data[place + 2 : place + 2 + length]
        place += 2 + length
    return found


def discover(
    interface: str,
    mac: str,
    servers: frozenset[str],
    port: int = 67,
    tries: int = TRIES,
    giaddr: str | None = None,
) -> Offered:
    """Ask on an interface for an address, as a relay agent of that address where there is one.

    ProbeFailure if none of our servers offers one.
    """
    hardware = parse_mac(mac)
    transaction = int.from_bytes(os.urandom(4), "big")
    frame = build_discover(hardware, transaction, port, giaddr, min(servers))
    foreign: set[str] = set()
    with wire(interface) as link:
        for _ in range(tries):
            link.send(frame)
            end = time.monotonic() + TRY_SECONDS
            while (left := end - time.monotonic()) > 0:
                if not select.select([link], [], [], left)[0]:
                    break
                offer = parse_offer(link.recv(65535), hardware, transaction)
                if offer is None:
                    continue
                if offer.server in servers:
                    return offer
                foreign.add(offer.server)
    others = f", but foreign servers do: {', '.join(sorted(foreign))}" if foreign else ""
    relayed = f" through the relay agent {giaddr}" if giaddr else ""
    raise ProbeFailure(
        f"no offer from {' or '.join(sorted(servers))} on {interface}{relayed} after {tries} tries{others}"
    )


@contextlib.contextmanager
def wire(interface: str) -> Iterator[socket.socket]:
    """A socket that sends and hears frames on an interface.  ProbeFailure.

    It does not wait for the kernel's other processors (synchronize_net), 5 to 20 ms each time: made for no protocol and
    then bound it hears no interface before (packet(7), "Address types"), and a thread of its own closes it.
    """
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        link.bind((interface, _ALL))
        yield link
    except OSError as error:
        raise ProbeFailure(f"interface {interface}: {error}") from error
    finally:
        threading.Thread(target=link.close, name="close-wire", daemon=True).start()


class Dhcp4Probe:
    """Parameters: interface, server (our identifier there), port, on a relayed VLAN giaddr; subnet_id is for people."""

    kind = "dhcp4"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """What is offered and with which boot file."""
        server = frozenset({text(spec, "server")})
        relay = dict(spec.parameters).get("giaddr")
        giaddr = None if relay is None else str(relay)
        offer = discover(text(spec, "interface"), context.client_mac, server, number(spec, "port"), giaddr=giaddr)
        boot = f", boot file {offer.boot_file}" if offer.boot_file else ""
        return f"{offer.server} offers {offer.address} on {text(spec, 'interface')}{boot}"


PROBE = Dhcp4Probe()
