"""A small TFTP reader (RFC 1350, with the blksize option of RFC 2348), as a network card's firmware has one."""

from __future__ import annotations

import socket
import struct

READ, DATA, ACK, ERROR, OPTIONS = 1, 3, 4, 5, 6
BLOCK_SIZE = 1468


class TftpError(AssertionError):
    """The file could not be read; says what the server answered."""


def read_file(server: str, name: str, port: int = 69, timeout: float = 3.0) -> bytes:
    """The whole file. TftpError on an error packet (RFC 1350, section 5) or when the server falls silent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(timeout)
        request = struct.pack("!H", READ) + b"\0".join(
            [name.encode(), b"octet", b"blksize", str(BLOCK_SIZE).encode(), b""]
        )
        link.sendto(request, (server, port))
        size, wanted, content = 512, 1, bytearray()
        while True:
            try:
                packet, peer = link.recvfrom(65536)
            except TimeoutError as error:
                raise TftpError(f"TFTP {server}: no answer for {name!r} after block {wanted - 1}") from error
            code, number = struct.unpack("!HH", packet[:4])
            if code == ERROR:
                raise TftpError(
                    f"TFTP {server}: {name!r}: error {number}: {packet[4:].rstrip(bytes(1)).decode('ascii', 'replace')}"
                )
            if code == OPTIONS:
                size = BLOCK_SIZE
                link.sendto(struct.pack("!HH", ACK, 0), peer)
            elif code == DATA:
                if number == wanted & 0xFFFF:
                    content += packet[4:]
                    wanted += 1
                link.sendto(struct.pack("!HH", ACK, number), peer)
                if len(packet) - 4 < size:
                    return bytes(content)
