"""The agent sends its rack what the ephemeral system logs: what is grave and what it says itself, never its token."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from app.agent.journal import JournalSender, line_of


def entry(message: Any, priority: int | str = 4, **fields: Any) -> dict[str, Any]:
    """One entry of the journal, as journalctl writes it."""
    return {
        "MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel",
        "_HOSTNAME": "muster",
    } | fields  # fmt: skip


def test_what_is_grave_and_what_the_agent_says_arrives(tmp_path: Path) -> None:
    """As datagrams of RFC 5424 to the rack of the boot's URL; a journal that ends ends nothing else."""
    lines = [
        entry("nvme nvme0: I/O 7 QID 3 timeout", 3),
        entry("eth0: link up", 6),
        entry("commission: started", 6, _SYSTEMD_UNIT="muster-agent.service", _PID="77", SYSLOG_FACILITY="3"),
    ]
    path = tmp_path / "journal"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rack:
        rack.bind(("127.0.0.1", 0))
        rack.settimeout(10)
        sender = JournalSender("http://127.0.0.1:5248", ("cat", str(path)), rack.getsockname()[1])
        sender.start()
        heard = [rack.recv(2000).decode() for _ in range(2)]
        sender.close()

    assert [
        "<3>1 - muster kernel - - - nvme nvme0: I/O 7 QID 3 timeout",
        "<30>1 - muster muster-agent 77 - - commission: started",
    ] == heard


def test_a_machine_without_a_journal_or_a_rack_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """No program, no host: a word on the console, and no time is lost."""
    begin = time.monotonic()
    for sender in (JournalSender("http://127.0.0.1:1", ("/nonexistent",)), JournalSender("nowhere", ("true",))):
        sender.start()
        sender.close()

    assert time.monotonic() - begin < 3
    assert "the journal is not sent to the rack" in capsys.readouterr().out


@pytest.mark.parametrize(
    "fields",
    [
        entry("Unknown kernel command line parameters muster.token=abc", 3),
        entry([77, 88]),
        entry("x", 9),
        entry("x", "loud"),
        entry("x", 5),
        entry("x", SYSLOG_FACILITY="none"),
    ],
)
def test_what_is_not_sent(fields: dict[str, Any]) -> None:
    """Tokens, bytes that are no text, what is not grave, nonsense."""
    assert line_of(json.dumps(fields).encode()) is None
    assert line_of(b"[]") is None
    assert line_of(b"{") is None


def test_a_line_is_one_line_of_bounded_length() -> None:
    """Whatever a program calls itself and says."""
    line = line_of(json.dumps(entry("a\nb " + "y" * 3000, SYSLOG_IDENTIFIER="my prog\n")).encode())

    assert line is not None
    assert (1500, True, False) == (len(line), line.startswith(b"<4>1 - muster myprog - - - a b y"), b"\n" in line)
