"""What machines have logged here: rsyslog's spool, brought to the control plane in order, each line once.

The spool is a ring of two files (`renderers.services.rsyslog`), of which the older one has `.1` after its name.  A file is
known by the identifier of its first line, which turning the ring does not change, and a place in it by its byte.  The
control plane stores the lines of a batch and the place after it in one transaction, takes only what begins at that place,
and says which it is.  So the rack keeps no note of its own: a batch whose answer was lost is sent again and stored once, an
agent that begins anew asks, and a control plane restored from a backup gets again what it lost, as far as the ring goes
back.

One machine cannot push the others out: of `LINES_A_MINUTE` of one address and minute the rest is left out, and a line
says so.  The probe's own lines are left out too.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from workers.rack.client import ControlPlaneDown, ControlPlaneRefused
from workers.rack.probes.syslog import PROGRAM

log = structlog.get_logger()

LOOK_SECONDS = 2.0
PAUSE_SECONDS = 0.2
"""Between two batches of a backlog: some 2,000 lines a second at most."""
DOWN_SECONDS = 10.0
BATCH_BYTES = 128 * 1024
"""Of the spool in one batch; as JSON of ASCII that is at most six times as much."""
BATCH_LINES = 500
LINES_A_MINUTE = 3000
NOTE_FACILITY, NOTE_SEVERITY = 5, 4
"""Facility syslog, severity warning (RFC 5424, section 6.2.1)."""
LONGEST = {"host": 255, "program": 128, "process": 128, "message": 4096}
"""Characters of each text that are told."""
_ID = re.compile(r"[0-9A-Fa-f]{32}")


class Listener(Protocol):
    """Who is told."""

    def report_syslog(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Take a batch; `position` is the place up to which this file is stored, `refused` how many lines were not taken."""


@dataclass
class Quota:
    """How many lines of each address there were in the minute of the newest line."""

    minute: str = ""
    lines: dict[str, int] = field(default_factory=dict)

    def judge(self, source: str, at: str) -> int:
        """How many lines over the limit this one is; 0 and less: it is within."""
        if at[:16] != self.minute:
            self.minute, self.lines = at[:16], {}
        self.lines[source] = self.lines.get(source, 0) + 1
        return self.lines[source] - LINES_A_MINUTE


class SyslogSensor(threading.Thread):
    """Reads one rack's spool and tells it, in a thread of its own: a backlog must not keep offers waiting."""

    def __init__(self, spool: Path, listener: Listener, stop: threading.Event) -> None:
        """Set up. spool: the file that rsyslog writes now; there may be none yet."""
        super().__init__(name="syslog", daemon=True)
        self._files = (spool.with_name(f"{spool.name}.1"), spool)
        self._listener, self._end = listener, stop
        self._known: dict[str, int] = {}
        self._quota = Quota()

    def run(self) -> None:
        """Until stopped."""
        while not self._end.is_set():
            pause = LOOK_SECONDS
            try:
                while self.tell() and not self._end.wait(PAUSE_SECONDS):
                    pass
            except ControlPlaneDown as error:
                log.debug("syslog.later", reason=str(error))
                pause = DOWN_SECONDS
            except ControlPlaneRefused as error:
                log.warning("syslog.refused", reason=str(error))
                pause = DOWN_SECONDS
            except Exception:
                log.exception("syslog.failed")
                pause = DOWN_SECONDS
            self._end.wait(pause)

    def tell(self) -> bool:
        """Send the next batch, of the older file first; False if there is nothing more. Raises what the listener raises."""
        for path in self._files:
            try:
                with path.open("rb") as file:
                    stream = _stream(file.readline(BATCH_BYTES))
                    if stream is None:
                        continue
                    if stream not in self._known:
                        self._ask(stream)
                    begin = self._known[stream]
                    file.seek(begin)
                    block = file.read(BATCH_BYTES)
            except FileNotFoundError:
                continue
            lines = _whole_lines(block)
            if lines:
                self._send(stream, begin, lines)
                return True
        return False

    def _ask(self, stream: str) -> None:
        """Learn up to where the control plane has a file."""
        answer = self._listener.report_syslog({"stream": stream, "begin": 0, "end": 0, "lines": []})
        self._known = {**dict(list(self._known.items())[-3:]), stream: int(answer["position"])}

    def _send(self, stream: str, begin: int, lines: list[bytes]) -> None:
        quota = copy.deepcopy(self._quota)  # A batch that has to be sent again counts once.
        told = [item for line in lines for item in _items(line, quota)]
        end = begin + sum(len(line) + 1 for line in lines)
        answer = self._listener.report_syslog({"stream": stream, "begin": begin, "end": end, "lines": told})
        self._known[stream], self._quota = int(answer["position"]), quota
        if answer.get("refused"):
            log.warning("syslog.lines_refused", count=answer["refused"], reason=answer.get("reason"))


def _items(line: bytes, quota: Quota) -> list[dict[str, Any]]:
    """What is told of a line of the spool: itself, a note that more is left out, or nothing."""
    item = parse(line)
    if item is None or _is_probe(item):
        return []
    over = quota.judge(item["source"], item["at"])
    if over <= 0:
        return [item]
    if over > 1:
        return []
    note = f"more than {LINES_A_MINUTE} lines of {item['source']} in one minute; its other lines are left out"
    return [
        item
        | {"facility": NOTE_FACILITY, "severity": NOTE_SEVERITY, "program": "muster-rack", "process": ""}
        | {"message": note}
    ]


def parse(line: bytes) -> dict[str, Any] | None:
    """A line of the spool as it is told; None for one that makes no sense (a disk that was full cuts lines)."""
    try:
        data = json.loads(line.decode("utf-8", "replace"))
        item = {name: str(data[name]) for name in ("at", "source", *LONGEST)}
        return {
            **{name: text.strip("\ufeff \t")[: LONGEST.get(name, 64)] for name, text in item.items()},
            "facility": int(data["facility"]),
            "severity": int(data["severity"]),
        }
    except (ValueError, TypeError, KeyError):
        return None


def _is_probe(item: Mapping[str, Any]) -> bool:
    """Whether this rack has sent it to itself: a machine that uses the probe's name hides nothing."""
    return bool(item["program"] == PROGRAM and item["message"].split(" ")[-1] == item["source"])


def _stream(first: bytes) -> str | None:
    """The identifier of a file by its first line; None while that is not whole."""
    if not first.endswith(b"\n"):
        return None
    try:
        found = json.loads(first.decode("utf-8", "replace"))["id"]
    except (ValueError, TypeError, KeyError):
        found = ""
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def _whole_lines(block: bytes) -> list[bytes]:
    """The lines of a block that are whole, without their ends, at most BATCH_LINES; of a block without an end all of it."""
    if b"\n" not in block:
        return [block[:-1]] if len(block) == BATCH_BYTES else []
    return block[: block.rindex(b"\n")].split(b"\n")[:BATCH_LINES]
