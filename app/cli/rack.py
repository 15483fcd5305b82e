"""`muster rack` and `muster reconcile`."""

from __future__ import annotations

from typing import Any

import click

from app.cli import output
from app.cli.client import CliError, Session

COLUMNS = {"id": "id", "name": "name", "offer": "offer_number", "applied": "applied_offer", "last seen": "seen_at"}


def _find(session: Session, word: str) -> dict[str, Any]:
    for rack in session.pages("/racks"):
        if word in (rack["name"], str(rack["id"])):
            return rack
    raise CliError(f"rack {word!r} does not exist; see `muster rack list`")


@click.group()
def rack() -> None:
    """Rack hosts. RACK is an id or a name."""


@rack.command("list")
@click.pass_obj
def rack_list(session: Session) -> None:
    """List racks."""
    output.show_list(session.pages("/racks"), COLUMNS, session.as_json)


@rack.command("show")
@click.argument("rack")
@click.pass_obj
def rack_show(session: Session, rack: str) -> None:
    """See a rack: what it runs, and why it is not in sync if it is not."""
    found = session.call("GET", f"/racks/{_find(session, rack)['id']}")
    if session.as_json:
        output.show_json(found)
        return
    output.show_one(found["rack"], False, ("id", "name", "generation", "offer_number", "applied_offer", "seen_at"))
    click.echo("in sync" if found["in_sync"] else "not in sync: " + "; ".join(found["reasons"]))
    columns = {"service": "service", "running": "running", "probes": "probes_ok", "detail": "detail"}
    output.show_list(found["services"], columns, False)
    for plan in found["held"]:
        click.echo(f"plan {plan['id']} is held: {output.table(['danger'], [[one] for one in plan['dangers']])}")


@rack.command("code")
@click.argument("name", required=False)
@click.pass_obj
def rack_code(session: Session, name: str | None) -> None:
    """A one-time enrolment code, good for an hour."""
    click.echo(session.call("POST", "/racks/codes", {"name": name})["code"])


@rack.command("reconcile")
@click.argument("rack")
@click.pass_obj
def rack_reconcile(session: Session, rack: str) -> None:
    """Have a rack compared again with what it should be."""
    session.call("POST", f"/racks/{_find(session, rack)['id']}/reconcile")


@rack.command("approve")
@click.argument("plan_id", type=int)
@click.pass_obj
def rack_approve(session: Session, plan_id: int) -> None:
    """Let a held plan go on."""
    output.show_one(session.call("POST", f"/plans/{plan_id}/approve"), session.as_json, ("id", "rack_id", "status"))


@rack.command("delete")
@click.argument("rack")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rack_delete(session: Session, rack: str, yes: bool) -> None:
    """Forget a rack."""
    if not yes:
        click.confirm(f"Forget {rack}? Its token dies at once.", abort=True)
    session.call("DELETE", f"/racks/{_find(session, rack)['id']}")


@click.command()
@click.pass_obj
def reconcile(session: Session) -> None:
    """Have all racks compared again with what they should be."""
    names = session.call("POST", "/racks/reconcile")["racks"]
    click.echo(f"{len(names)} racks will be looked at: {', '.join(names) or 'none'}.")


COMMANDS = (rack, reconcile)
