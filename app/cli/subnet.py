"""`muster subnet`, `range`, `route`: networks, what is handed out of them, and how their clients reach each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from app.cli import output
from app.cli.client import Session
from app.cli.job import begin
from app.cli.resource import FLAG, NUMBER, TEXT, TEXTS, Kind, make

SUBNET_OPTIONS = (
    ("name", TEXT, "Name."),
    ("description", TEXT, "Words about it."),
    ("domain_id", NUMBER, "Domain of its machines."),
    ("gateway", TEXT, "Default gateway; '' for none."),
    ("dns_servers", TEXTS, "DNS server of its clients, instead of the rack."),
    ("managed", FLAG, "Whether Muster hands out what lies outside the ranges, or only reserved ranges."),
    ("lease_seconds", NUMBER, "How long DHCP leases live."),
    ("boot_lease_seconds", NUMBER, "How long they live for clients that are booting."),
    ("reverse_dns", ("off", "on", "rfc2317"), "Whether it has a reverse zone; rfc2317: also when smaller than a /24."),
    ("allow_dns", FLAG, "Whether racks answer its clients' recursive queries."),
    ("allow_proxy", FLAG, "Whether racks' proxies serve its clients."),
    ("disabled_boot_architectures", TEXTS, "Firmware that may not boot there: bios, uefi-x64, uefi-http."),
    ("unknown_clients", ("serve", "ignore"), "What DHCP does for MAC addresses that nobody has heard of."),
    ("slaac", FLAG, "Whether clients of an IPv6 /64 make up their own addresses."),
)
RANGE_KIND = ("kind", ("dynamic", "reserved", "static_pool"), "What is done with it.")
COMMENT = ("comment", TEXT, "What it is for.")
METRIC = ("metric", NUMBER, "Preference among routes; the lowest wins.")
SUBNET = Kind(
    "subnet",
    "IP networks on VLANs.",
    ("id", "cidr", "name", "vlan_id", "domain", "gateway", "managed"),
    ("cidr",),
    (
        ("vlan_id", NUMBER, "VLAN it is on; the default fabric's untagged one otherwise."),
        ("fabric", TEXT, "Name of a new fabric that it is the first subnet of."),
        *SUBNET_OPTIONS,
    ),
    (("vlan_id", NUMBER, "VLAN it is on."), *SUBNET_OPTIONS),
    (("vlan_id", NUMBER, "On this VLAN."), ("address", TEXT, "The one that holds this address.")),
)
RANGE = Kind(
    "range",
    "Ranges of subnets: dynamic (DHCP), reserved, or static pools.",
    ("id", "subnet_id", "kind", "start", "end", "comment"),
    ("start", "end"),
    (("subnet_id", NUMBER, "Subnet."), RANGE_KIND, COMMENT),
    (RANGE_KIND, ("start", TEXT, "First."), ("end", TEXT, "Last."), COMMENT),
    (("subnet_id", NUMBER, "Of this subnet."), RANGE_KIND),
    forced=True,
)
ROUTE = Kind(
    "route",
    "Static routes: how clients of one subnet reach another.",
    ("id", "source", "destination", "gateway", "metric"),
    (),
    (
        ("source_id", NUMBER, "Subnet whose clients have the route."),
        ("destination_id", NUMBER, "Subnet that they reach by it."),
        ("gateway", TEXT, "Through which address of the source subnet."),
        METRIC,
    ),
    (
        ("destination_id", NUMBER, "Subnet that they reach by it."),
        ("gateway", TEXT, "Through which address of the source subnet."),
        METRIC,
    ),
    (("subnet_id", NUMBER, "That begin or end in this subnet."),),
)
GROUP = make(SUBNET)
SHOWN = ("cidr", "new_cidr", "gateway", "machines", "devices", "addresses", "routes", "staying_count")
PARTS = {"start": "start", "end": "end", "count": "count", "purpose": "purpose", "comment": "comment"}
USES = {
    "address": "address", "kind": "kind", "who": "who", "mac": "mac", "leased until": "leased_until", "seen": "seen_at",
    "comment": "comment",
}  # fmt: skip
STALE = {"machine": "hostname", "interface": "interface", "installed with": "installed_gateway", "now": "gateway"}


def _after_address(session: Session, path: str) -> Iterator[dict[str, Any]]:
    """All items of a list that goes on after an address."""
    return session.pages(path, after=None)


@GROUP.command("statistics")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def statistics(session: Session, number: int) -> None:
    """See one in numbers of addresses."""
    output.show_one(session.call("GET", f"/subnets/{number}/statistics"), session.as_json)


@GROUP.command("free")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def free(session: Session, number: int) -> None:
    """List intervals that may be handed out and that nobody has."""
    output.show_list(_after_address(session, f"/subnets/{number}/free-ranges"), PARTS, session.as_json)


@GROUP.command("reserved")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def reserved(session: Session, number: int) -> None:
    """List intervals that ranges, the gateway and routes keep."""
    found = session.call("GET", f"/subnets/{number}/reserved-ranges")["items"]
    output.show_list(found, PARTS, session.as_json)


@GROUP.command("addresses")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def addresses(session: Session, number: int) -> None:
    """List addresses in use, and who has them."""
    found = _after_address(session, f"/subnets/{number}/addresses")
    if not session.as_json:
        found = ({**one, "who": _who(one)} for one in found)
    output.show_list(found, USES, session.as_json)


@GROUP.command("stale-gateways")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def stale_gateways(session: Session, number: int) -> None:
    """List deployed machines that were installed with another gateway."""
    output.show_list(session.pages(f"/subnets/{number}/stale-gateways"), STALE, session.as_json)


@GROUP.command("renumber")
@click.argument("number", metavar="ID", type=int)
@click.argument("cidr")
@click.option("--force", is_flag=True, help="Also while addresses of its dynamic ranges are leased.")
@click.option("--preview", is_flag=True, help="Only show what would move, what stays, and what speaks against it.")
@click.option("--no-follow", is_flag=True, help="Do not wait for its end.")
@click.pass_obj
def renumber(session: Session, number: int, cidr: str, force: bool, preview: bool, no_follow: bool) -> None:
    """Move everything in one to the network CIDR, each address to its place there."""
    path = f"/subnets/{number}/renumber"
    if not preview:
        begin(session, path, {"cidr": cidr, "force": force}, no_follow)
        return
    found = session.call("GET", path, cidr=cidr, force=str(force).lower())
    output.show_one(found, session.as_json, () if session.as_json else SHOWN)
    if session.as_json:
        return
    for one in found["staying"]:
        click.echo(f"  {one['hostname']} stays: {one['why']}", err=True)
    for why in found["refusals"]:
        click.echo(f"  refused: {why}", err=True)


@GROUP.command("stale-routes")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def stale_routes(session: Session, number: int) -> None:
    """List deployed machines that were installed with other static routes."""
    found = session.pages(f"/subnets/{number}/stale-routes")
    if not session.as_json:
        found = ({**one, "keeps": _routes(one["keeps"]), "lacks": _routes(one["lacks"])} for one in found)
    columns = {"machine": "hostname", "keeps": "keeps", "lacks": "lacks", "installed at": "installed_at"}
    output.show_list(found, columns, session.as_json)


def _routes(found: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['destination']} via {one['gateway']} metric {one['metric']}" for one in found)


def _who(found: dict[str, Any]) -> str | None:
    owner = found["machine"] or found["device"] or found["rack"] or found["hostname"]
    return f"{owner} {found['interface']}" if owner and found["interface"] else owner


COMMANDS = (GROUP, make(RANGE), make(ROUTE))
