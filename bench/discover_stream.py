"""A stream of DISCOVERs at a steady rate, in a process of its own, and which of them got no answer."""

from __future__ import annotations

import multiprocessing
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from lab import namespace
from workers.rack.probes.dhcp4 import build_discover, parse_mac

BEHIND_SECONDS = 0.02
"""A stream that was kept from sending for longer goes on at its rate: a burst would be another question."""
GRACE_SECONDS = 3.0
"""After the last question, for its answer."""
_CHECKSUM, _OPERATION, _TRANSACTION = slice(40, 42), 42, slice(46, 50)
_ALL = 0x0003
_RCVBUFFORCE, _PACKET, _IGNORE_OUTGOING = 33, 263, 23
"""socket(7), packet(7) and linux/if_packet.h."""


@dataclass(frozen=True)
class Heard:
    """What came of a stream. worst: seconds to the latest answer; rate: questions a second.

    late: the longest, in seconds, that a question was sent too late.  It tells of the host and not of the server: so long the
    stream itself was not given a processor.
    """

    sent: int
    lost: int
    worst: float
    rate: float = 0.0
    late: float = 0.0


class DiscoverStream:
    """Asks from `interface` in a namespace, as one known MAC after the other; a context manager, then `heard`.

    RuntimeError on leaving when the process has not told what it heard: that would read as nothing lost.
    """

    def __init__(self, inside: str, interface: str, macs: Sequence[str], rate: int) -> None:
        self._question = (inside, interface, tuple(macs), rate)
        self.heard = Heard(0, 0, 0.0)

    def __enter__(self) -> Self:
        fork = multiprocessing.get_context("fork")
        self._here, there = fork.Pipe()
        self._process = fork.Process(target=_run, args=(there, *self._question), daemon=True)
        self._process.start()
        there.close()
        self._here.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._here.send("stop")
            if not self._here.poll(GRACE_SECONDS + 20):
                raise RuntimeError("the stream of DISCOVERs does not end")
            self.heard = self._here.recv()
        except (OSError, EOFError) as end:
            raise RuntimeError("the stream of DISCOVERs has ended early; its process says why") from end
        finally:
            self._process.join(5)
            if self._process.is_alive():
                self._process.kill()


def _run(pipe: Connection, inside: str, interface: str, macs: tuple[str, ...], rate: int) -> None:
    pipe.send("ready")
    pipe.send(namespace.inside(inside, lambda: _stream(pipe, interface, macs, rate)))


def _stream(pipe: Connection, interface: str, macs: tuple[str, ...], rate: int) -> Heard:
    frames = [bytearray(build_discover(parse_mac(mac), 0)) for mac in macs]
    for frame in frames:
        frame[_CHECKSUM] = b"\0\0"  # None, for it would change with each transaction (RFC 768).
    first = int.from_bytes(os.urandom(4), "big") & 0x7FFFFFFF
    sent: list[float] = []
    waiting: dict[int, float] = {}
    worst = late = 0.0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 1 << 24)  # Room for answers while it is not given a processor.
        wire.setsockopt(_PACKET, _IGNORE_OUTGOING, 1)
        wire.bind((interface, _ALL))
        begin = due = time.monotonic()
        end = stopped = 0.0
        while not end or (waiting and time.monotonic() < end):
            now = time.monotonic()
            if not end and now - due > BEHIND_SECONDS:
                late, due = max(late, now - due), now
            while not end and due <= now:
                number = first + len(sent)
                frame = frames[len(sent) % len(frames)]
                frame[_TRANSACTION] = struct.pack("!I", number)
                wire.send(frame)
                waiting[number] = now
                sent.append(now)
                due += 1 / rate
            for _ in range(64):
                if not select.select([wire], [], [], 0.0005)[0]:
                    break
                packet = wire.recv(2048)
                if len(packet) > 50 and packet[12:14] == b"\x08\x00" and packet[23] == 17 and packet[_OPERATION] == 2:
                    asked = waiting.pop(struct.unpack("!I", packet[_TRANSACTION])[0], None)
                    worst = max(worst, time.monotonic() - asked) if asked is not None else worst
            if not end and pipe.poll():
                pipe.recv()
                stopped = time.monotonic()
                end = stopped + GRACE_SECONDS
    return Heard(len(sent), len(waiting), worst, len(sent) / (stopped - begin), late)
