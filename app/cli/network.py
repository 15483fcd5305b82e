"""`muster fabric`, `space`, `vlan`, `domain`: the network as it should be."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session
from app.cli.resource import FLAG, NUMBER, TEXT, Kind, make

VLAN_OPTIONS = (
    ("vid", NUMBER, "VLAN tag, 0 to 4094."),
    ("name", TEXT, "Name."),
    ("mtu", NUMBER, "Largest packet."),
    ("space_id", NUMBER, "Space that its subnets are in."),
    ("relay_vlan_id", NUMBER, "VLAN whose racks a relay agent brings its DHCP to."),
)
DOMAIN_OPTIONS = (
    ("ttl_seconds", NUMBER, "How long resolvers keep answers."),
    ("description", TEXT, "What it is for."),
    ("primary_rack_id", NUMBER, "Rack that holds its primary."),
)
KINDS = (
    Kind(
        "fabric",
        "Sets of VLANs that reach each other.",
        ("id", "name", "found", "description"),
        ("name",),
        (("description", TEXT, "What it is."),),
        (("name", TEXT, "Name."), ("description", TEXT, "What it is.")),
        merges=True,
    ),
    Kind(
        "space",
        "Sets of VLANs whose subnets reach each other.",
        ("id", "name", "vlans", "subnets", "without_subnets", "description"),
        ("name",),
        (("description", TEXT, "What it is."),),
        (("name", TEXT, "Name."), ("description", TEXT, "What it is.")),
    ),
    Kind(
        "vlan",
        "Broadcast domains; DHCP is switched on here.",
        ("id", "fabric", "vid", "name", "mtu", "space", "dhcp_on", "rack_id", "secondary_rack_id", "relay_vlan_id"),
        (),
        (("fabric_id", NUMBER, "Fabric it belongs to."), *VLAN_OPTIONS),
        (
            *VLAN_OPTIONS,
            ("dhcp_on", FLAG, "Whether Muster serves DHCP."),
            ("router_advertisements", FLAG, "Whether racks advertise IPv6."),
            ("rack_id", NUMBER, "Rack that serves it; 0 for none."),
            ("secondary_rack_id", NUMBER, "Rack that takes over when the first fails; 0 for none."),
            ("fabric_id", NUMBER, "Fabric that it moves to."),
        ),
        merges=True,
    ),
    Kind(
        "domain",
        "DNS domains.",
        ("id", "name", "ttl_seconds", "primary_rack_id", "description"),
        ("name",),
        DOMAIN_OPTIONS,
        (("name", TEXT, "Its new name; all names in it follow."), *DOMAIN_OPTIONS),
    ),
)
COMMANDS = tuple(make(kind) for kind in KINDS)
DOMAIN = next(command for command in COMMANDS if command.name == "domain")
"""What is more than making, seeing, changing and deleting one."""
STALE = {"machine": "hostname", "installed as": "installed_name", "now": "name", "installed at": "installed_at"}


@DOMAIN.command("stale-names")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def stale_names(session: Session, number: int) -> None:
    """List deployed machines that were installed under another name than they have now."""
    output.show_list(session.pages(f"/domains/{number}/stale-names"), STALE, session.as_json)
