"""`muster fabric`, `vlan`, `subnet`, `range`, `domain`: the network as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from app.cli import output
from app.cli.client import Session


@dataclass(frozen=True)
class Kind:
    """One kind of thing: its options for `create` and `set`, and the columns of its list."""

    word: str
    about: str
    columns: tuple[str, ...]
    arguments: tuple[str, ...]
    options: tuple[tuple[str, Any, str], ...]
    changes: tuple[tuple[str, Any, str], ...]


TEXT, NUMBER, FLAG = str, int, bool
VLAN_OPTIONS = (
    ("vid", NUMBER, "VLAN tag, 0 to 4094."),
    ("name", TEXT, "Name."),
    ("mtu", NUMBER, "Largest packet."),
)
SUBNET_OPTIONS = (
    ("name", TEXT, "Name."),
    ("domain_id", NUMBER, "Domain of its machines."),
    ("gateway", TEXT, "Default gateway."),
    ("lease_seconds", NUMBER, "How long DHCP leases live."),
    ("managed", FLAG, "Whether Muster hands out its addresses."),
)
RANGE_OPTIONS = (("comment", TEXT, "What it is for."),)
KINDS = (
    Kind("fabric", "Sets of VLANs that reach each other.", ("id", "name"), ("name",), (), (("name", TEXT, "Name."),)),
    Kind(
        "vlan",
        "Broadcast domains; DHCP is switched on here.",
        ("id", "fabric", "vid", "name", "mtu", "dhcp_on", "router_advertisements", "rack_id"),
        (),
        (("fabric_id", NUMBER, "Fabric it belongs to."), *VLAN_OPTIONS),
        (
            *VLAN_OPTIONS,
            ("dhcp_on", FLAG, "Whether Muster serves DHCP."),
            ("router_advertisements", FLAG, "Whether racks advertise IPv6."),
            ("rack_id", NUMBER, "Rack that serves it."),
        ),
    ),
    Kind(
        "subnet",
        "IP networks on VLANs.",
        ("id", "cidr", "name", "vlan_id", "domain", "gateway", "managed"),
        ("cidr",),
        (("vlan_id", NUMBER, "VLAN it is on."), *SUBNET_OPTIONS),
        (("vlan_id", NUMBER, "VLAN it is on."), *SUBNET_OPTIONS),
    ),
    Kind(
        "range",
        "Ranges of subnets: dynamic (DHCP) or reserved.",
        ("id", "subnet_id", "kind", "start", "end", "comment"),
        ("start", "end"),
        (("subnet_id", NUMBER, "Subnet."), ("kind", TEXT, "dynamic or reserved."), *RANGE_OPTIONS),
        (("kind", TEXT, "dynamic or reserved."), ("start", TEXT, "First."), ("end", TEXT, "Last."), *RANGE_OPTIONS),
    ),
    Kind(
        "domain",
        "DNS domains.",
        ("id", "name", "ttl_seconds"),
        ("name",),
        (("ttl_seconds", NUMBER, "How long resolvers keep answers."),),
        (("ttl_seconds", NUMBER, "How long resolvers keep answers."),),
    ),
)


def _option(name: str, kind: Any, about: str) -> click.Option:
    flag = f"--{name.removesuffix('_id').replace('_', '-')}" if name.endswith("_id") else f"--{name.replace('_', '-')}"
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=about)
    words = f"{about} (id)" if name.endswith("_id") else about
    return click.Option([flag, name], type=kind, help=words)


def _make(kind: Kind) -> click.Group:
    group = click.Group(kind.word, help=kind.about)
    path = f"/{kind.word}s"

    @group.command("list")
    @click.pass_obj
    def list_all(session: Session) -> None:
        """List them."""
        columns = {name.replace("_", " "): name for name in kind.columns}
        output.show_list(session.pages(path), columns, session.as_json)

    @click.pass_obj
    def create(session: Session, /, **given: Any) -> None:
        body = {name: value for name, value in given.items() if value is not None}
        output.show_one(session.call("POST", path, body), session.as_json)

    @click.pass_obj
    def change(session: Session, /, number: int, **given: Any) -> None:
        body = {name: value for name, value in given.items() if value is not None}
        if not body:
            raise click.UsageError("say what to change; see --help")
        output.show_one(session.call("PATCH", f"{path}/{number}", body), session.as_json)

    @group.command("show")
    @click.argument("number", metavar="ID", type=int)
    @click.pass_obj
    def show(session: Session, number: int) -> None:
        """See one."""
        output.show_one(session.call("GET", f"{path}/{number}"), session.as_json)

    @group.command("delete")
    @click.argument("number", metavar="ID", type=int)
    @click.pass_obj
    def delete(session: Session, number: int) -> None:
        """Delete one that nothing uses."""
        session.call("DELETE", f"{path}/{number}")

    arguments: list[click.Parameter] = [click.Argument([name]) for name in kind.arguments]
    options = [_option(*option) for option in kind.options]
    group.add_command(click.Command("create", callback=create, params=[*arguments, *options], help="Create one."))
    identity: list[click.Parameter] = [click.Argument(["number"], metavar="ID", type=int)]
    changes = [_option(*option) for option in kind.changes]
    group.add_command(click.Command("set", callback=change, params=[*identity, *changes], help="Change one."))
    return group


COMMANDS = tuple(_make(kind) for kind in KINDS)
