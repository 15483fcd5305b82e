"""ISC dhcpd's control protocol, OMAPI, by a client of our own: open an object, read it, change it, delete it.

The wire (ISC DHCP, omapip/protocol.c and omapip/buffer.c): both sides say version 100 and header size 24; a message is six
32-bit numbers (authenticator, length of the signature, operation, handle, transaction, transaction answered), two lists
of name and value, and the signature, an HMAC over everything but the first number and itself.  Objects are dhcpd's own
(dhcpd(8), "OMAPI", with what can be looked up, changed and destroyed).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Self

PROTOCOL, HEADER = 100, 24
OPEN, REFRESH, UPDATE, STATUS, DELETE = 1, 2, 3, 5, 6
ALGORITHM = b"HMAC-SHA256.SIG-ALG.REG.INT."
SIGNATURE_BYTES = 32
SECONDS = 10.0
NOT_FOUND = 23
"""ISC_R_NOTFOUND (isc/result.h)."""
_NUMBERS = struct.Struct("!6I")
Values = dict[bytes, bytes]


class OmapiDown(Exception):
    """Nobody listens, or the connection broke off."""


class OmapiRefused(Exception):
    """dhcpd said no.  code: its result."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"dhcpd refuses: {words or f'result {code}'}")
        self.code = code


def number(value: int) -> bytes:
    """A 32-bit number as a value."""
    return struct.pack("!I", value)


def encode(values: Mapping[bytes, bytes]) -> bytes:
    """A list of names and values with its end mark."""
    made = b"".join(
        struct.pack("!H", len(name)) + name + struct.pack("!I", len(value)) + value for name, value in values.items()
    )
    return made + b"\0\0"


class Omapi:
    """One connection, authenticated; a context manager.  Every method may raise OmapiDown and OmapiRefused."""

    def __init__(self, port: int, key_name: str, secret: str, address: str = "127.0.0.1") -> None:
        self._place = (address, port)
        self._key = base64.b64decode(secret)
        self._key_name = key_name.encode()
        self._authenticator = 0
        self._transactions = itertools.count(1)
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """Where dhcpd listens."""
        return self._place[1]

    def __enter__(self) -> Self:
        try:
            self._socket = socket.create_connection(self._place, SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(struct.pack("!II", PROTOCOL, HEADER))
            self._read(8)
        except OSError as error:
            self.close()
            raise OmapiDown(f"dhcpd does not answer on {self._place[0]} port {self._place[1]}: {error}") from error
        try:
            handle, _ = self._ask(
                OPEN, 0, {b"type": b"authenticator"}, {b"name": self._key_name, b"algorithm": ALGORITHM}
            )
        except BaseException:
            self.close()
            raise
        self._authenticator = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; harmless if that is done."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def find(self, kind: str, wanted: Mapping[bytes, bytes]) -> tuple[int, Values] | None:
        """Handle and values of the object that matches; None if there is none."""
        try:
            return self._ask(OPEN, 0, {b"type": kind.encode()}, wanted)
        except OmapiRefused as refused:
            if refused.code == NOT_FOUND:
                return None
            raise

    def prove(self) -> None:
        """Ask something, so that both sides prove their key: opening a connection takes its name only."""
        self.find("host", {b"name": b"muster-nobody"})

    def create(self, kind: str, values: Mapping[bytes, bytes]) -> int:
        """Make an object that must not be there; its handle."""
        asked = {b"type": kind.encode(), b"create": number(1), b"exclusive": number(1)}
        return self._ask(OPEN, 0, asked, values)[0]

    def update(self, handle: int, values: Mapping[bytes, bytes]) -> None:
        """Change an object."""
        self._ask(UPDATE, handle, {}, values)

    def delete(self, handle: int) -> None:
        """Destroy an object."""
        self._ask(DELETE, handle, {}, {})

    def _ask(
        self, operation: int, handle: int, message: Mapping[bytes, bytes], values: Mapping[bytes, bytes]
    ) -> tuple[int, Values]:
        transaction = next(self._transactions)
        length = SIGNATURE_BYTES if self._authenticator else 0
        body = struct.pack("!5I", length, operation, handle, transaction, 0) + encode(message) + encode(values)
        try:
            self._send(struct.pack("!I", self._authenticator) + body + (self._sign(body) if length else b""))
            answer, said, found = self._receive()
        except OSError as error:
            raise OmapiDown(f"dhcpd broke off: {error}") from error
        if answer[5] != transaction:
            raise OmapiDown("dhcpd answers another question than was asked")
        if answer[2] == STATUS:
            code = int.from_bytes(said.get(b"result", b"\0"), "big")
            if code:
                raise OmapiRefused(code, said.get(b"message", b"").decode(errors="replace"))
        return answer[3], found

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise OmapiDown("the connection is closed")
        self._socket.sendall(data)

    def _receive(self) -> tuple[tuple[int, ...], Values, Values]:
        head = self._read(HEADER)
        numbers = _NUMBERS.unpack(head)
        raw = bytearray(head[4:])
        message, values = self._values(raw), self._values(raw)
        if numbers[1] > SIGNATURE_BYTES:
            raise OmapiDown("dhcpd signs with another algorithm than it was told")
        signature = self._read(numbers[1])
        if self._authenticator and not hmac.compare_digest(signature, self._sign(bytes(raw))):
            raise OmapiDown("the answer is not signed with this rack's key")
        return numbers, message, values

    def _values(self, raw: bytearray) -> Values:
        found: Values = {}
        while length := struct.unpack("!H", self._take(2, raw))[0]:
            name = self._take(length, raw)
            size = struct.unpack("!I", self._take(4, raw))[0]
            if size > 1 << 16:
                raise OmapiDown(f"a value of {size} bytes makes no sense")
            found[name] = self._take(size, raw)
        return found

    def _take(self, count: int, raw: bytearray) -> bytes:
        part = self._read(count)
        raw += part
        return part

    def _read(self, count: int) -> bytes:
        if self._socket is None:
            raise OmapiDown("the connection is closed")
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(count - len(parts))
            if not part:
                raise OmapiDown("dhcpd hangs up; the key or its algorithm is not what it knows")
            parts += part
        return bytes(parts)

    def _sign(self, data: bytes) -> bytes:
        return hmac.new(self._key, data, hashlib.sha256).digest()
