"""`muster neighbour`: addresses that racks have seen in use."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session

COLUMNS = {
    "address": "address", "mac": "mac", "subnet": "subnet_id", "rack": "rack_id", "interface": "interface",
    "first seen": "first_seen_at", "last seen": "seen_at",
}  # fmt: skip


@click.group()
def neighbour() -> None:
    """Addresses that racks have seen in use."""


@neighbour.command("list")
@click.option("--rack", "rack_id", type=int, help="Seen by this rack (id).")
@click.option("--subnet", "subnet_id", type=int, help="Of this subnet (id).")
@click.option("--address", help="This address.")
@click.option("--mac", help="This MAC.")
@click.pass_obj
def neighbour_list(session: Session, /, **asked: str | int | None) -> None:
    """List neighbours."""
    query = {name: value for name, value in asked.items() if value is not None}
    output.show_list(session.pages("/neighbours", **query), COLUMNS, session.as_json)


COMMANDS = (neighbour,)
