"""Sends a line by UDP and one by TCP as a machine does, and looks for both in the rack's spool.

That the daemon listens proves little: with a full disk or a directory that is not its own it takes lines and throws them away.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text

SECONDS = 2.0
PROGRAM = "muster-rack-probe"
"""What the probe's lines call themselves; the sensor knows them by it."""
TAIL_BYTES = 256 * 1024
USER_INFO = 14
"""Facility user, severity informational (RFC 5424, section 6.2.1)."""


def build_line(nonce: str, server: str) -> bytes:
    """One line as a machine sends it (RFC 5424, section 6); it says where it was sent, so that it is known as ours."""
    return f"<{USER_INFO}>1 - - {PROGRAM} - - - {nonce} {server}".encode()


def send(kind: socket.SocketKind, server: str, port: int, line: bytes) -> None:
    """Send a line from the rack's own address; ProbeFailure if nobody takes it."""
    word = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind) as wire:
        wire.settimeout(SECONDS)
        try:
            wire.bind((server, 0))
            wire.connect((server, port))
            wire.sendall(line if kind == socket.SOCK_DGRAM else line + b"\n")
        except OSError as error:
            raise ProbeFailure(f"{server} takes no syslog by {word}: {type(error).__name__}: {error}") from error


class SyslogProbe:
    """Parameters: server, port, spool (path of the file that rsyslog writes)."""

    kind = "syslog"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """That lines by UDP and TCP arrived."""
        server, port, spool = text(spec, "server"), number(spec, "port"), Path(text(spec, "spool"))
        nonces = {"UDP": os.urandom(12).hex(), "TCP": os.urandom(12).hex()}
        send(socket.SOCK_DGRAM, server, port, build_line(nonces["UDP"], server))
        send(socket.SOCK_STREAM, server, port, build_line(nonces["TCP"], server))
        end = time.monotonic() + SECONDS
        while True:
            seen = tail(spool) + tail(spool.with_name(f"{spool.name}.1"))
            missing = [name for name, nonce in nonces.items() if nonce.encode() not in seen]
            if not missing:
                return f"lines by UDP and TCP to {server} arrive in the spool"
            if time.monotonic() > end:
                raise ProbeFailure(f"{server}: a line by {' and '.join(missing)} did not arrive in {spool}")
            time.sleep(0.05)


def tail(path: Path) -> bytes:
    """The end of a file; nothing of one that is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""


PROBE = SyslogProbe()
