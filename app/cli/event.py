"""`muster events`: what happened."""

from __future__ import annotations

from collections import deque
from typing import Any

import click

from app.cli import output
from app.cli.client import Session
from app.cli.follow import follow_events, print_event

LEVELS = ("debug", "info", "warning", "error")


@click.command("events")
@click.option("--after", type=int, default=0, help="Only events with a larger id.")
@click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="Only the newest so many.")
@click.option("--level", type=click.Choice(["debug", "info", "warning", "error"]), help="This level or graver.")
@click.option("--machine", help="Of this machine (id or hostname).")
@click.option("--rack", type=int, help="Of this rack (id).")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.pass_obj
def events(
    session: Session, after: int, last: int, level: str | None, machine: str | None, rack: int | None, follow: bool
) -> None:
    """Events of machines and racks: the newest, oldest first."""
    if machine and rack:
        raise click.UsageError("give --machine or --rack, not both")
    path = f"/machines/{machine}/events" if machine else "/events"
    filters = {"level": level} | ({} if machine else {"rack_id": rack})
    newest = list(deque(session.pages(path, after=after, **filters), maxlen=last))
    for event in newest:
        print_event(event, session.as_json)
    if follow:
        wanted = LEVELS[LEVELS.index(level) if level else 0 :]
        for event in follow_events(session, path, newest[-1]["id"] if newest else None):
            if event["level"] in wanted and rack in (None, event["rack_id"]):
                print_event(event, session.as_json)


@click.command("audit")
@click.option("--after", type=int, default=0, help="Only changes with a larger id.")
@click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="Only the newest so many.")
@click.option("--actor", help="By this user or rack.")
@click.option("--verb", help="Only this, as in create or deploy.")
@click.option("--thing", help="Of this kind, as in machine or subnet.")
@click.option("--of", "thing_id", type=int, help="Of the thing with this id.")
@click.option("--request", "request_id", help="In the request with this id, as in the log.")
@click.pass_obj
def audit(session: Session, /, after: int, last: int, **filters: Any) -> None:
    """Who changed what: the newest, oldest first."""
    found = deque(session.pages("/audit", after=after, **filters), maxlen=last)
    columns = {
        "id": "id", "at": "at", "actor": "actor", "verb": "verb", "thing": "thing", "of": "thing_id", "detail": "detail",
        "request": "request_id",
    }  # fmt: skip
    output.show_list(found, columns, session.as_json)


COMMANDS = (events, audit)
