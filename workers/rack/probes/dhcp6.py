"""Asks for an IPv6 address as a machine would: SOLICIT, without taking what is advertised (RFC 8415, section 18.2.1).

Kea listens for DHCPv6 on ordinary sockets, so the question goes out by one too, to all servers of the link, and is looped
back to this host.  The answer goes to a client's port, which another program may hold; so it is watched for by AF_PACKET,
on the loopback interface as well, because an answer to this host's own address travels there.  Only an ADVERTISE to our
transaction under our own server's DUID counts: a foreign server must not make a deaf one look well.
Asked *as a relay agent would* (RFC 8415, section 19.1), with the option of the client's link-layer address (RFC 6939),
the question can be put for any MAC: from this host's own link-local address no other client's could be.
Kea keeps no lease for a SOLICIT.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text
from workers.rack.probes.dhcp4 import parse_mac

TRIES = 2
TRY_SECONDS = 1.2
ALL_SERVERS = "ff02::1:2"
CLIENT_PORT, SERVER_PORT = 546, 547
LOOPBACK = "lo"
SOLICIT, ADVERTISE, RELAY_FORWARD, RELAY_REPLY = 1, 2, 12, 13
CLIENT_ID, SERVER_ID, IA_NA, IA_ADDRESS, OPTION_REQUEST, ELAPSED, RELAY_MESSAGE, STATUS = 1, 2, 3, 5, 6, 8, 9, 13
LINK_LAYER_ADDRESS = 79
DNS_SERVERS, DOMAIN_SEARCH, NTP_SERVER, BOOT_FILE = 23, 24, 56, 59
_ETHERNET = 1
_ETHERTYPE_IPV6 = 0x86DD
_UDP = 17
_ALL = 0x0003


@dataclass(frozen=True)
class Advertised:
    """The part of an ADVERTISE that is worth telling; address is empty where none was free."""

    address: str
    server: bytes
    options: dict[int, bytes]

    @property
    def boot_file(self) -> str:
        """The boot file's URL, empty without one."""
        return self.options.get(BOOT_FILE, b"").decode("ascii", "replace")


def duid_of(mac: bytes) -> bytes:
    """The DUID of a client that is known by nothing but its MAC: type LL (RFC 8415, section 11.4)."""
    return struct.pack("!HH", 3, _ETHERNET) + mac


def link_local_of(mac: bytes) -> ipaddress.IPv6Address:
    """The link-local address that an interface makes of its MAC (RFC 4291, appendix A)."""
    return ipaddress.IPv6Address(
        bytes.fromhex("fe80000000000000") + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    )


def option(code: int, value: bytes) -> bytes:
    """One option as it travels."""
    return struct.pack("!HH", code, len(value)) + value


def build_solicit(mac: bytes, transaction: int) -> bytes:
    """A SOLICIT for one address."""
    asked = struct.pack("!4H", DNS_SERVERS, DOMAIN_SEARCH, NTP_SERVER, BOOT_FILE)
    options = (
        option(CLIENT_ID, duid_of(mac))
        + option(IA_NA, mac[2:] + bytes(8))
        + option(OPTION_REQUEST, asked)
        + option(ELAPSED, bytes(2))
    )
    return bytes([SOLICIT]) + transaction.to_bytes(3) + options


def build_relayed(message: bytes, mac: bytes, link_address: str) -> bytes:
    """The message as a relay agent with an address on the client's link passes it on."""
    head = bytes([RELAY_FORWARD, 0]) + ipaddress.IPv6Address(link_address).packed + link_local_of(mac).packed
    link_layer = struct.pack("!H", _ETHERNET) + mac
    return head + option(LINK_LAYER_ADDRESS, link_layer) + option(RELAY_MESSAGE, message)


def parse_options(data: bytes) -> dict[int, bytes]:
    """The first option of each code; a cut one ends the reading."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        code, length = struct.unpack("!HH", data[:4])
        if len(data) < 4 + length:
            break
        found.setdefault(code, data[4 : 4 + length])
        data = data[4 + length :]
    return found


def parse_answer(message: bytes, client: bytes, transaction: int) -> Advertised | None:
    """The ADVERTISE to this question, relayed or not; None for everything else, however malformed."""
    if len(message) >= 34 and message[0] == RELAY_REPLY:
        message = parse_options(message[34:]).get(RELAY_MESSAGE, b"")
    if len(message) < 4 or message[0] != ADVERTISE or int.from_bytes(message[1:4]) != transaction:
        return None
    options = parse_options(message[4:])
    if options.get(CLIENT_ID) != client or not options.get(SERVER_ID):
        return None
    promised = parse_options(options.get(IA_NA, b"")[12:]).get(IA_ADDRESS, b"")
    address = str(ipaddress.IPv6Address(promised[:16])) if len(promised) >= 24 else ""
    return Advertised(address, options[SERVER_ID], options)


def message_in(frame: bytes) -> bytes:
    """The UDP message in an Ethernet frame with IPv6 and no extension headers; empty for every other frame."""
    if len(frame) < 14 + 40 + 8 or frame[12:14] != struct.pack("!H", _ETHERTYPE_IPV6) or frame[20] != _UDP:
        return b""
    return frame[62 : 54 + struct.unpack("!H", frame[58:60])[0]]


def solicit(
    interface: str,
    mac: str,
    server: bytes,
    port: int = SERVER_PORT,
    *,
    link_address: str | None = None,
    source: str | None = None,
    tries: int = TRIES,
) -> Advertised:
    """Ask on an interface for an address.  ProbeFailure if our server does not advertise.

    link_address: ask as a relay agent with this address on the client's link, on behalf of the MAC.  Otherwise Kea takes
    the question for one of this interface's own.  source: this host's own address that the relayed question comes from,
    where it is another one.
    """
    hardware = parse_mac(mac)
    transaction = int.from_bytes(os.urandom(3))
    message = build_solicit(hardware, transaction)
    if link_address is not None:
        message = build_relayed(message, hardware, link_address)
    foreign: set[str] = set()
    with _watching(interface) as watch, _asking(interface, source or link_address) as wire:
        index = socket.if_nametoindex(interface)
        for _ in range(tries):
            try:
                wire.sendto(message, (ALL_SERVERS, port, 0, index))
            except OSError as error:
                raise ProbeFailure(f"interface {interface}: cannot send: {error}") from error
            for frame in _frames(watch, interface):
                found = parse_answer(message_in(frame), duid_of(hardware), transaction)
                if found is not None and found.server == server:
                    return found
                if found is not None:
                    foreign.add(found.server.hex())
    relayed = f" through a relay agent on {link_address}" if link_address else ""
    others = f", but foreign servers do: {', '.join(sorted(foreign))}" if foreign else ""
    raise ProbeFailure(
        f"no advertisement from server {server.hex()} on {interface}{relayed} after {tries} tries{others}"
    )


@contextlib.contextmanager
def _watching(interface: str) -> Iterator[socket.socket]:
    """All frames of this host; a frame's interface is told with it."""
    try:
        socket.if_nametoindex(interface)
        watch = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    except OSError as error:
        raise ProbeFailure(f"interface {interface}: {error}") from error
    with watch:
        yield watch


@contextlib.contextmanager
def _asking(interface: str, source: str | None) -> Iterator[socket.socket]:
    """A socket to ask from: a relay agent's own address, or a client's port where that can be had."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as wire:
        wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(interface))
        wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if source is not None:
                wire.bind((source, 0))
            else:
                with contextlib.suppress(OSError):
                    wire.bind(("::", CLIENT_PORT))
        except OSError as error:
            raise ProbeFailure(f"address {source}: {error}") from error
        yield wire


def _frames(watch: socket.socket, interface: str) -> Iterator[bytes]:
    """What is seen on the interface and on the loopback interface while one try lasts."""
    end = time.monotonic() + TRY_SECONDS
    while (left := end - time.monotonic()) > 0:
        if not select.select([watch], [], [], left)[0]:
            return
        frame, (seen_on, *_) = watch.recvfrom(65535)
        if seen_on in (interface, LOOPBACK):
            yield frame


class Dhcp6Probe:
    """Parameters: interface, server (our server's DUID in hexadecimal digits), port; subnet_id is for people.

    On a relayed VLAN also link (an address of it) and source (the rack's own that relay agents ask).
    """

    kind = "dhcp6"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """What is advertised.  That no address is free is an answer too: the server hears and speaks."""
        server = bytes.fromhex(text(spec, "server"))
        relay = {name: str(value) for name, value in spec.parameters if name in ("link", "source")}
        found = solicit(
            text(spec, "interface"),
            context.client_mac,
            server,
            number(spec, "port"),
            link_address=relay.get("link"),
            source=relay.get("source"),
        )
        return f"our server advertises {found.address or 'no address'} on {text(spec, 'interface')}"


PROBE = Dhcp6Probe()
