"""`muster change`: how far a change has come on the racks."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session

STAGES = ("request", "wake", "fetch", "daemon", "check", "report", "total")


@click.group()
def change() -> None:
    """Changes on their way to the racks."""


@change.command("show")
@click.argument("sequence", type=int)
@click.option("--generations", help="Muster-Generations of the answer, as in 1:17,2:4.")
@click.pass_obj
def change_show(session: Session, sequence: int, generations: str | None) -> None:
    """See whether the racks serve a change, by the sequence that its answer named, and how long it took."""
    found = session.call("GET", f"/changes/{sequence}", generations=generations)
    if session.as_json:
        output.show_json(found)
        return
    click.echo("Live." if found["live"] else "Not live.")
    if found["failure"]:
        click.echo(f"  {found['failure']}")
    for one in found["missing"]:
        click.echo(f"  {one['rack']}: {one['what']}")
    for one in found["applies"]:
        taken = ", ".join(f"{name} {one['seconds'][name] * 1000:.1f} ms" for name in STAGES if name in one["seconds"])
        click.echo(f"  rack {one['rack_id']} at {one['at']}: {one['count']} records; {taken}")


COMMANDS = (change,)
