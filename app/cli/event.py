"""`muster events`: what happened."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session
from app.cli.follow import print_event


@click.command("events")
@click.option("--after", type=int, default=0, help="Only events with a larger id.")
@click.option("--limit", type=int, default=100, show_default=True)
@click.option("--level", type=click.Choice(["debug", "info", "warning", "error"]), help="This level or graver.")
@click.pass_obj
def events(session: Session, after: int, limit: int, level: str | None) -> None:
    """Events of all machines and racks, oldest first."""
    for event in session.call("GET", "/events", after=after, limit=limit, level=level)["items"]:
        print_event(event, session.as_json)


@click.command("audit")
@click.option("--after", type=int, default=0, help="Only changes with a larger id.")
@click.option("--limit", type=int, default=100, show_default=True)
@click.pass_obj
def audit(session: Session, after: int, limit: int) -> None:
    """Who changed what, oldest first."""
    columns = {"id": "id", "at": "at", "actor": "actor", "verb": "verb", "thing": "thing", "of": "thing_id"}
    output.show_list(session.call("GET", "/audit", after=after, limit=limit)["items"], columns, session.as_json)


COMMANDS = (events, audit)
