"""
What this system logs goes to the machine's rack as syslog (RFC 5424 over UDP), for a search after it is gone.

Warnings and graver lines of everything, and all lines of the agent itself: some dozens for each boot. Nothing waits for
it and nothing fails with it: a rack that takes no syslog, or an image without journalctl, costs the lines only. Racks listen
at port 514; one that was set up with another port does not hear us.
"""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from .runner import say

PORT = 514
DAEMON = 3
"""Facility (RFC 5424, section 6.2.1) of lines that have none."""
WARNING, INFO = 4, 6
LONGEST = 1500
PAUSE_SECONDS = 0.002
"""After each line, so that the lines of the boot do not overrun the rack's buffer."""
SECRET = "muster.token"  # noqa: S105 - the name of a parameter
"""The kernel logs its command line, and with it the token of this run."""
AGENT_UNIT = "muster-agent.service"
COMMAND = ("journalctl", "--boot", "--follow", "--lines=all", "--output=json")


class JournalSender:
    """Sends the journal's lines from the boot on, in a thread of its own, until it is closed."""

    def __init__(self, url: str, command: tuple[str, ...] = COMMAND, port: int = PORT) -> None:
        self._host = urlsplit(url).hostname or ""
        self._command, self._port = command, port
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; whatever goes wrong is said and nothing more."""
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._thread = threading.Thread(
                target=self._send, args=(self._process.stdout,), name="journal", daemon=True
            )
            self._thread.start()
        except (OSError, RuntimeError) as error:
            say(f"the journal is not sent to the rack: {error}")

    def close(self) -> None:
        """End; what has been logged just now gets a moment to leave."""
        if self._process is None or self._thread is None:
            return
        time.sleep(0.2)
        self._process.terminate()
        self._thread.join(2.0)

    def _send(self, entries: Iterable[bytes]) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as wire:
            for entry in entries:
                line = line_of(entry)
                if line is not None:
                    try:
                        wire.sendto(line, (self._host, self._port))
                    except OSError:
                        continue
                    time.sleep(PAUSE_SECONDS)


def line_of(entry: bytes) -> bytes | None:
    """A journal entry (systemd.journal-fields(7)) as a line of syslog; None for one that is not sent."""
    try:
        fields: dict[str, Any] = json.loads(entry)
        priority = int(fields.get("PRIORITY", INFO))
        own = fields.get("_SYSTEMD_UNIT") == AGENT_UNIT
        message = fields.get("MESSAGE")
        if not isinstance(message, str) or not 0 <= priority <= 7 or not (own or priority <= WARNING):
            return None
        if SECRET in message:
            return None
        facility = int(fields.get("SYSLOG_FACILITY", DAEMON))
    except (ValueError, TypeError, AttributeError):
        return None
    program = "muster-agent" if own else _word(fields.get("SYSLOG_IDENTIFIER"), 48)
    process = _word(fields.get("_PID"), 48)
    head = f"<{(facility % 24) * 8 + priority}>1 - {_word(fields.get('_HOSTNAME'), 255)} {program} {process} - - "
    return (head + " ".join(message.split()))[:LONGEST].encode()


def _word(value: object, longest: int) -> str:
    """A field of the head: printable ASCII without blanks, `-` for none."""
    text = "".join(one for one in str(value or "") if "!" <= one <= "~")
    return text[:longest] or "-"
