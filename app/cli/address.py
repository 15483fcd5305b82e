"""`muster address`: addresses in use, and those that are kept for things that Muster does not manage."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session

COLUMNS = {"id": "id", "address": "address", "kind": "kind", "hostname": "hostname", "subnet": "subnet_id"}


@click.group()
def address() -> None:
    """Addresses in use: given to machines and racks, or reserved by hand."""


@address.command("list")
@click.option("--machine", help="Of this machine (id or hostname).")
@click.option("--subnet", "subnet_id", type=int, help="In this subnet (id).")
@click.pass_obj
def address_list(session: Session, machine: str | None, subnet_id: int | None) -> None:
    """List addresses in use."""
    output.show_list(session.pages("/addresses", machine=machine, subnet_id=subnet_id), COLUMNS, session.as_json)


@address.command("show")
@click.argument("address_id", type=int)
@click.pass_obj
def address_show(session: Session, address_id: int) -> None:
    """See an address in use."""
    output.show_one(session.call("GET", f"/addresses/{address_id}"), session.as_json)


@address.command("reserve")
@click.argument("address")
@click.option("--subnet", "subnet_id", type=int, required=True, help="Subnet that it is in (id).")
@click.option("--hostname", help="Whose it is.")
@click.pass_obj
def address_reserve(session: Session, address: str, subnet_id: int, hostname: str | None) -> None:
    """Keep ADDRESS for something that Muster does not manage."""
    body = {"address": address, "subnet_id": subnet_id, "hostname": hostname}
    output.show_one(session.call("POST", "/addresses", body), session.as_json, tuple(COLUMNS.values()))


@address.command("delete")
@click.argument("address_id", type=int)
@click.pass_obj
def address_delete(session: Session, address_id: int) -> None:
    """Give a reserved address back."""
    session.call("DELETE", f"/addresses/{address_id}")


COMMANDS = (address,)
