"""`muster rollout`: changes on their way to many racks."""

from __future__ import annotations

from typing import Any

import click

from app.cli import output
from app.cli.client import Session

COLUMNS = {name: name for name in ("id", "status", "cause", "actor", "begun_at", "ended_at", "reason")}
RACKS = {name: name for name in ("rack", "wave", "canary", "status", "offer_number", "reason")}


@click.group()
def rollout() -> None:
    """Changes on their way to many racks: one first, then waves; a refusal stops them."""


@rollout.command("list")
@click.option("--status", help="Only those of this status: running, halted, done, superseded.")
@click.pass_obj
def rollout_list(session: Session, status: str | None) -> None:
    """List rollouts."""
    output.show_list(session.pages("/rollouts", status=status), COLUMNS, session.as_json)


@rollout.command("show")
@click.argument("rollout_id", type=int)
@click.pass_obj
def rollout_show(session: Session, rollout_id: int) -> None:
    """See a rollout: how far it is, where it stopped and why, which racks have it."""
    show(session, session.call("GET", f"/rollouts/{rollout_id}"))


@rollout.command("continue")
@click.argument("rollout_id", type=int)
@click.pass_obj
def rollout_continue(session: Session, rollout_id: int) -> None:
    """Let a halted rollout go on without the rack that stopped it."""
    show(session, session.call("POST", f"/rollouts/{rollout_id}/continue"))


def show(session: Session, found: dict[str, Any]) -> None:
    """Print a rollout."""
    if session.as_json:
        output.show_json(found)
        return
    click.echo(found["sentence"])
    output.show_list(found["racks"], RACKS, False)


COMMANDS = (rollout,)
