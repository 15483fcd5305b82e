"""A small DHCPv4 client (RFC 2131), as a network card's firmware or iPXE has one.

It asks by broadcast on one interface, which need not have an address, and says which architecture (option 93, RFC 4578)
and user class (option 77) it is, as the boot file depends on them.  It can also ask as a relay agent does for a client
behind it (RFC 1542, section 4): from an address of its own, straight to the server.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7
COOKIE = bytes.fromhex("63825363")
BROADCAST_FLAG = 0x8000
BIOS = 0
REQUESTED_OPTIONS = bytes([1, 3, 6, 12, 15, 26, 42, 51, 54, 66, 67, 121, 175])
TRIES, TRY_SECONDS = 4, 1.5


class DhcpFailed(AssertionError):
    """No address was had; says what was asked and what came back."""


@dataclass(frozen=True)
class Lease:
    """What a server acknowledged. options: raw values by option number."""

    address: str
    server: str
    next_server: str
    boot_file: str
    prefix_length: int
    options: Mapping[int, bytes]

    def addresses(self, option: int) -> tuple[str, ...]:
        """An option that is a list of addresses (routers, DNS, NTP servers)."""
        value = self.options.get(option, b"")
        return tuple(str(ipaddress.IPv4Address(value[at : at + 4])) for at in range(0, len(value) - 3, 4))


def discover_and_request(
    interface: str,
    mac: str,
    *,
    user_class: str | None = None,
    architecture: int = BIOS,
    vendor_class: str = "PXEClient",
    relay: tuple[str, str] | None = None,
    tries: int = TRIES,
    wanted: str | None = None,
) -> Lease:
    """DISCOVER, take the first OFFER, REQUEST it. DhcpFailed when no server answers or it says NAK."""
    return exchange(
        interface,
        mac,
        user_class=user_class,
        architecture=architecture,
        vendor_class=vendor_class,
        relay=relay,
        tries=tries,
        wanted=wanted,
    )[1]


def release(interface: str, mac: str, lease: Lease) -> None:
    """Give an address back (RFC 2131, section 4.4.6). No server answers to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        link.bind(("", 68))
        own = [(53, bytes([RELEASE])), (54, socket.inet_aton(lease.server))]
        packet = _packet(mac, os.urandom(4), own, client_address=lease.address)
        link.sendto(packet, ("255.255.255.255", 67))


def exchange(
    interface: str,
    mac: str,
    *,
    user_class: str | None = None,
    architecture: int = BIOS,
    vendor_class: str = "PXEClient",
    relay: tuple[str, str] | None = None,
    tries: int = TRIES,
    wanted: str | None = None,
) -> tuple[Lease, Lease]:
    """What the OFFER said and what was acknowledged.

    relay: the address of the agent, which this host has, and the server's.  wanted: the address it would like (option 50).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        link.bind((relay[0], 67) if relay else ("", 68))
        own: list[tuple[int, bytes]] = [
            (60, vendor_class.encode()), (93, struct.pack("!H", architecture)), (94, bytes([1, 2, 1])),
            (55, REQUESTED_OPTIONS),
        ]  # fmt: skip
        if user_class:
            own.append((77, user_class.encode()))
        wish = [(50, socket.inet_aton(wanted))] if wanted else []
        offer = _ask(link, mac, DISCOVER, [*own, *wish], relay, tries)
        chosen = [*own, (50, offer[16:20]), (54, _options(offer)[54])]
        acknowledged = _ask(link, mac, REQUEST, chosen, relay, tries)
    if _options(acknowledged)[53] != bytes([ACK]):
        raise DhcpFailed(f"{mac}: the server refused {ipaddress.IPv4Address(offer[16:20])} (DHCPNAK)")
    return _lease(offer), _lease(acknowledged)


def _lease(packet: bytes) -> Lease:
    options = _options(packet)
    mask = ipaddress.IPv4Network(f"0.0.0.0/{ipaddress.IPv4Address(options.get(1, bytes([255] * 4)))}")
    boot_file = packet[108:236].split(b"\0", 1)[0] or options.get(67, b"")
    return Lease(
        address=str(ipaddress.IPv4Address(packet[16:20])),
        server=str(ipaddress.IPv4Address(options[54])),
        next_server=str(ipaddress.IPv4Address(packet[20:24])),
        boot_file=boot_file.rstrip(b"\0").decode(),
        prefix_length=mask.prefixlen,
        options=options,
    )


def _ask(
    link: socket.socket,
    mac: str,
    kind: int,
    options: list[tuple[int, bytes]],
    relay: tuple[str, str] | None,
    tries: int,
) -> bytes:
    xid = os.urandom(4)
    packet = _packet(mac, xid, [(53, bytes([kind])), *options], relay_address=relay[0] if relay else None)
    wanted = (OFFER,) if kind == DISCOVER else (ACK, NAK)
    for _ in range(tries):
        link.sendto(packet, (relay[1] if relay else "255.255.255.255", 67))
        end = time.monotonic() + TRY_SECONDS
        while (left := end - time.monotonic()) > 0:
            link.settimeout(left)
            try:
                answer = link.recv(4096)
            except TimeoutError:
                break
            if len(answer) > 240 and answer[0] == 2 and answer[4:8] == xid and answer[236:240] == COOKIE:
                said = _options(answer).get(53, b"\0")[0]
                if said in wanted:
                    return answer
    raise DhcpFailed(f"{mac}: no answer to DHCP message {kind} in {tries} tries of {TRY_SECONDS} s")


def _packet(
    mac: str,
    xid: bytes,
    options: list[tuple[int, bytes]],
    *,
    client_address: str = "0.0.0.0",
    relay_address: str | None = None,
) -> bytes:
    """A message to a server, as long as BOOTP's (RFC 1542, section 2.1)."""
    packet = (
        struct.pack("!BBBB4sHH", 1, 1, 6, 1 if relay_address else 0, xid, 0, BROADCAST_FLAG)
        + socket.inet_aton(client_address)
        + bytes(8)
        + (socket.inet_aton(relay_address) if relay_address else bytes(4))
        + bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0")
        + bytes(192)
        + COOKIE
        + b"".join(bytes([number, len(value)]) + value for number, value in options)
        + b"\xff"
    )
    return packet.ljust(300, b"\0")


def _options(packet: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 240
    while at < len(packet) and packet[at] != 255:
        if packet[at] == 0:
            at += 1
            continue
        if at + 1 >= len(packet):
            break
        length = packet[at + 1]
        found[packet[at]] = found.get(packet[at], b"") + packet[at + 2 : at + 2 + length]
        at += 2 + length
    return found
