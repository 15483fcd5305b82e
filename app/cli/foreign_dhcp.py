"""`muster foreign-dhcp`: DHCP servers that are not ours."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session

COLUMNS = {
    "server": "server", "mac": "mac", "offers": "offered", "rack": "rack_id", "interface": "interface", "VLAN": "vlan_id",
    "first seen": "first_seen_at", "last seen": "seen_at",
}  # fmt: skip


@click.group("foreign-dhcp")
def foreign_dhcp() -> None:
    """DHCP servers that are not ours, on networks that racks serve."""


@foreign_dhcp.command("list")
@click.option("--rack", "rack_id", type=int, help="Heard by this rack (id).")
@click.option("--vlan", "vlan_id", type=int, help="On this VLAN (id).")
@click.pass_obj
def foreign_dhcp_list(session: Session, /, **asked: int | None) -> None:
    """List foreign DHCP servers."""
    query = {name: value for name, value in asked.items() if value is not None}
    output.show_list(session.pages("/foreign-dhcp-servers", **query), COLUMNS, session.as_json)


COMMANDS = (foreign_dhcp,)
