"""One NTP exchange as a client (RFC 5905, section 7.3)."""

from __future__ import annotations

import os
import socket
import struct

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text

SECONDS = 2.0
PACKET_BYTES = 48
UNSYNCHRONISED_STRATUM = 16


def build_request(cookie: bytes) -> bytes:
    """Version 4, mode 3 (client), with eight bytes of our own as the transmit time, which the server gives back."""
    if len(cookie) != 8:
        raise ValueError(f"an NTP timestamp has 8 bytes, not {len(cookie)}")
    return bytes([0x23]) + bytes(39) + cookie


def parse_answer(packet: bytes, cookie: bytes) -> int:
    """The server's stratum.  ProbeFailure if it is no answer to the request or the clock is not synchronised."""
    if len(packet) < PACKET_BYTES or packet[0] & 0x07 != 4 or packet[24:32] != cookie:
        raise ProbeFailure("the answer is not to our question")
    stratum = packet[1]
    if packet[0] >> 6 == 3 or not 0 < stratum < UNSYNCHRONISED_STRATUM:
        raise ProbeFailure(f"its clock is not synchronised (stratum {stratum})")
    if struct.unpack("!Q", packet[40:48])[0] == 0:
        raise ProbeFailure("the answer holds no time")
    return stratum


class NtpProbe:
    """Parameters: server, port."""

    kind = "ntp"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """The stratum."""
        server = text(spec, "server")
        cookie = os.urandom(8)
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.settimeout(SECONDS)
            try:
                wire.connect((server, number(spec, "port")))
                wire.send(build_request(cookie))
                packet = wire.recv(1024)
            except OSError as error:
                raise ProbeFailure(f"{server} does not answer NTP: {type(error).__name__}") from error
        try:
            return f"{server} serves time at stratum {parse_answer(packet, cookie)}"
        except ProbeFailure as failure:
            raise ProbeFailure(f"{server}: {failure}") from None


PROBE = NtpProbe()
