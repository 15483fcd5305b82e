"""Following a machine: its live events, and the progress of one operation until its end."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import click
import requests

from app.cli.client import NOT_REACHABLE, CliError, Session

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


def parse_stream(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Id and data of each event of a server-sent event stream (WHATWG HTML, section 9.2.6)."""
    number = ""
    data: list[str] = []
    for line in lines:
        if line.startswith(":"):
            continue
        if not line:
            if data:
                yield number, "\n".join(data)
            data = []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            number = value
        elif name == "data":
            data.append(value)


def follow_machine(session: Session, machine: str) -> None:
    """Print a machine's events as they happen; connects again when the stream ends."""
    recent = list(deque(session.pages(f"/machines/{machine}/events"), maxlen=10))
    for event in recent:
        print_event(event, session.as_json)
    for event in follow_events(session, f"/machines/{machine}/events", recent[-1]["id"] if recent else 0):
        print_event(event, session.as_json)


def follow_events(session: Session, path: str, last: int | None) -> Iterator[dict[str, Any]]:
    """Events after an id (None: new ones) as they happen, without end; connects again when the stream ends."""
    lost_since: float | None = None
    while True:
        try:
            answer = session.raw("GET", f"{path}/stream", stream=True, after=last)
            lost_since = None
            with answer:
                answer.encoding = "utf-8"
                for number, data in parse_stream(answer.iter_lines(chunk_size=1, decode_unicode=True)):
                    last = int(number)
                    yield json.loads(data)
        except requests.RequestException:
            pass  # A stream that breaks is one that is opened again.
        except CliError as error:
            # As for operations: a restart in between is waited for, a refusal is not.
            lost_since = lost_since or time.monotonic()
            if error.exit_code != NOT_REACHABLE or time.monotonic() - lost_since > PATIENCE_SECONDS:
                raise
        time.sleep(POLL_SECONDS)


def wait_for_operation(session: Session, operation: dict[str, Any]) -> dict[str, Any]:
    """Poll an operation until its end, printing the machine's events meanwhile; the operation as it ended."""
    machine_id, after = operation["machine_id"], None
    lost_since: float | None = None
    shown = ""
    while True:
        try:
            if after is None:
                after = _last_event(session, machine_id, operation["started_at"])
            operation = session.call("GET", f"/operations/{operation['id']}")
            for event in session.call("GET", f"/machines/{machine_id}/events", after=after)["items"]:
                after = event["id"]
                print_event(event, False, err=True)
            lost_since = None
        except CliError as error:
            # The control plane may be restarted meanwhile; only a long silence ends the waiting.
            lost_since = lost_since or time.monotonic()
            if error.exit_code != NOT_REACHABLE or time.monotonic() - lost_since > PATIENCE_SECONDS:
                raise
        progress = progress_line(operation)
        if operation["status"] != "running":
            return operation
        if progress != shown:
            click.echo(progress, err=True)
            shown = progress
        time.sleep(POLL_SECONDS)


def progress_line(operation: dict[str, Any]) -> str:
    """One line about where an operation is."""
    progress = operation.get("progress") or {}
    fraction = progress.get("fraction")
    percent = f" {fraction:.0%}" if isinstance(fraction, (int, float)) else ""
    message = progress.get("message")
    return f"... {operation['action']}: {operation['step']}{percent}" + (f": {message}" if message else "")


def print_event(event: dict[str, Any], as_json: bool, err: bool = False) -> None:
    """One event as a line."""
    if as_json:
        click.echo(json.dumps(event), err=err)
        return
    level = "" if event["level"] == "info" else f"{event['level'].upper()} "
    click.echo(f"{event['at'][:19].replace('T', ' ')}  {level}{event['message']}", err=err)


def _last_event(session: Session, machine_id: int, since: str) -> int:
    """The id of the last event before a time, so that only what belongs to the operation is shown."""
    last = 0
    for event in session.pages(f"/machines/{machine_id}/events"):
        if event["at"] >= since:
            break
        last = event["id"]
    return last
