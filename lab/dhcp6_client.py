"""A small DHCPv6 client (RFC 8415), as a network card's firmware, iPXE or a system has one.

It asks from the link-local address of one interface, and says which architecture (option 61, RFC 5970), user class
(option 15) and vendor class (option 16) it is, as the boot file depends on them.  Its DUID is made of a UUID, as that of
firmware is (RFC 6355), or of what is given.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

SOLICIT, ADVERTISE, REQUEST, REBIND, REPLY, RELEASE, INFORMATION_REQUEST = 1, 2, 3, 6, 7, 8, 11
SERVERS = ("ff02::1:2", 547)
CLIENT_PORT = 546
UEFI_X64, UEFI_HTTP = 7, 16
WANTED = (23, 24, 56, 59)
TRIES, TRY_SECONDS = 4, 1.5
PXE_ENTERPRISE = 343


class Dhcp6Failed(AssertionError):
    """No answer was had; says what was asked and what came back."""


@dataclass(frozen=True)
class Lease6:
    """What a server said. address: empty where it gave none. options: raw values by option number."""

    address: str
    server: bytes
    preferred: int
    valid: int
    options: Mapping[int, bytes]

    @property
    def boot_file(self) -> str:
        """The URL of option 59, empty without one."""
        return self.options.get(59, b"").decode()

    def addresses(self, option: int) -> tuple[str, ...]:
        """An option that is a list of addresses (DNS servers)."""
        value = self.options.get(option, b"")
        return tuple(str(ipaddress.IPv6Address(value[at : at + 16])) for at in range(0, len(value), 16))


@dataclass(frozen=True)
class Client6:
    """Who asks. duid: of type UUID by default. iaid: another one counts as another client (RFC 8415, section 12)."""

    interface: str
    duid: bytes = struct.pack("!H", 4) + uuid.UUID(int=7).bytes
    iaid: int = 1
    architecture: int | None = None
    user_class: str | None = None
    vendor_class: str | None = None

    def solicit_and_request(self) -> Lease6:
        """Take the address that the first server advertises."""
        offered = self.ask(SOLICIT, ADVERTISE)
        return self.ask(REQUEST, REPLY, offered)

    def inform(self) -> Lease6:
        """Ask for settings alone."""
        return self.ask(INFORMATION_REQUEST, REPLY)

    def rebind(self, lease: Lease6) -> Lease6:
        """Ask any server to go on with an address, as the one that gave it does not answer (RFC 8415, section 18.2.5)."""
        return self.ask(REBIND, REPLY, lease)

    def release(self, lease: Lease6) -> Lease6:
        """Give an address back."""
        return self.ask(RELEASE, REPLY, lease)

    def ask(self, kind: int, expected: int, before: Lease6 | None = None) -> Lease6:
        """One exchange. Dhcp6Failed when nobody answers."""
        transaction = os.urandom(3)
        message = bytes([kind]) + transaction + self._options(kind, before)
        seen: list[int] = []
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as link:
            index = socket.if_nametoindex(self.interface)
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            link.bind(("::", CLIENT_PORT, 0, index))
            for _ in range(TRIES):
                link.sendto(message, (*SERVERS, 0, index))
                end = time.monotonic() + TRY_SECONDS
                while (left := end - time.monotonic()) > 0:
                    link.settimeout(left)
                    try:
                        answer = link.recv(65535)
                    except TimeoutError:
                        break
                    seen.append(answer[0])
                    if answer[0] == expected and answer[1:4] == transaction:
                        return _lease(answer)
        raise Dhcp6Failed(f"message {kind} on {self.interface}: no {expected} within {TRIES} tries; seen: {seen}")

    def _options(self, kind: int, before: Lease6 | None) -> bytes:
        made = _option(1, self.duid) + _option(6, struct.pack(f"!{len(WANTED)}H", *WANTED)) + _option(8, bytes(2))
        if before is not None and kind != REBIND:
            made += _option(2, before.server)
        if kind != INFORMATION_REQUEST:
            held = b""
            if before is not None and before.address:
                held = _option(5, ipaddress.IPv6Address(before.address).packed + bytes(8))
            made += _option(3, struct.pack("!3I", self.iaid, 0, 0) + held)
        if self.architecture is not None:
            made += _option(61, struct.pack("!H", self.architecture))
        if self.user_class is not None:
            made += _option(15, _counted(self.user_class))
        if self.vendor_class is not None:
            made += _option(16, struct.pack("!I", PXE_ENTERPRISE) + _counted(self.vendor_class))
        return made


def _counted(text: str) -> bytes:
    return struct.pack("!H", len(text)) + text.encode()


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def _parse(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        code, length = struct.unpack("!HH", data[:4])
        found[code] = data[4 : 4 + length]
        data = data[4 + length :]
    return found


def _lease(answer: bytes) -> Lease6:
    options = _parse(answer[4:])
    held = _parse(options.get(3, bytes(12))[12:]).get(5)
    if held is None:
        return Lease6("", options[2], 0, 0, options)
    preferred, valid = struct.unpack("!II", held[16:24])
    return Lease6(str(ipaddress.IPv6Address(held[:16])), options[2], preferred, valid, options)
