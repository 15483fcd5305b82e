"""`muster lease`: addresses that racks' DHCP servers have handed out."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session

COLUMNS = {
    "id": "id", "address": "address", "mac": "mac", "hostname": "hostname", "name": "name", "subnet": "subnet_id", "rack": "rack_id",
    "since": "started_at", "until": "expires_at",
}  # fmt: skip


@click.group()
def lease() -> None:
    """Addresses that racks' DHCP servers have handed out."""


@lease.command("list")
@click.option("--rack", "rack_id", type=int, help="By this rack (id).")
@click.option("--subnet", "subnet_id", type=int, help="Of this subnet (id).")
@click.option("--address", help="This address.")
@click.option("--mac", help="To this MAC.")
@click.option("--hostname", help="To a client that calls itself so.")
@click.pass_obj
def lease_list(session: Session, /, **asked: str | int | None) -> None:
    """List leases that live."""
    query = {name: value for name, value in asked.items() if value is not None}
    output.show_list(session.pages("/leases", **query), COLUMNS, session.as_json)


@lease.command("release")
@click.argument("lease_id", type=int)
@click.pass_obj
def lease_release(session: Session, lease_id: int) -> None:
    """End a lease at its DHCP server: the address is free at once. The client is not told until it renews."""
    session.call("DELETE", f"/leases/{lease_id}")
    click.echo(f"Lease {lease_id} is ended.")


COMMANDS = (lease,)
