"""Reads the first block of a loader by TFTP, then stops the transfer (RFC 1350)."""

from __future__ import annotations

import socket
import struct
import time

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text

SECONDS = 2.0
BLOCK_BYTES = 512
READ, DATA, ERROR = 1, 3, 5


def build_request(name: str) -> bytes:
    """A read request in octet mode.  ValueError if the name cannot be sent."""
    if "\0" in name or not name:
        raise ValueError(f"TFTP file name {name!r} is empty or holds a zero byte")
    return struct.pack("!H", READ) + name.encode() + b"\0octet\0"


def parse_block(packet: bytes) -> bytes:
    """The content of block 1.  ProbeFailure with the server's words for an error, and for anything else."""
    if len(packet) >= 4:
        operation, value = struct.unpack("!HH", packet[:4])
        if operation == DATA and value == 1 and len(packet) <= 4 + BLOCK_BYTES:
            return packet[4:]
        if operation == ERROR:
            raise ProbeFailure(
                f"the server answers error {value}: {packet[4:].split(bytes(1))[0].decode('ascii', 'replace')}"
            )
    raise ProbeFailure("the answer is no first block")


class TftpProbe:
    """Parameters: server, port, file."""

    kind = "tftp"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """How much of the file came."""
        server, name = text(spec, "server"), text(spec, "file")
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as wire:
            wire.sendto(build_request(name), (server, number(spec, "port")))
            end = time.monotonic() + SECONDS
            while (left := end - time.monotonic()) > 0:
                wire.settimeout(left)
                try:
                    packet, sender = wire.recvfrom(65535)
                except TimeoutError:
                    break
                if sender[0] != server:
                    continue
                try:
                    block = parse_block(packet)
                except ProbeFailure as failure:
                    raise ProbeFailure(f"{name} from {server}: {failure}") from None
                if not block:
                    raise ProbeFailure(f"{name} from {server} is empty")
                wire.sendto(struct.pack("!HH", ERROR, 0) + b"probe ends here\0", sender)
                return f"{name}: first {len(block)} bytes"
        raise ProbeFailure(f"no answer from {server} for {name} within {SECONDS:g} s")


PROBE = TftpProbe()
