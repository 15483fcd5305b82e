"""Subnets changed by hand: their settings, ranges and addresses kept by hand."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from app.identity import current_context
from app.services import addresses, domains, ranges, subnets
from app.services.context import Context
from app.services.errors import NotFound
from app.services.ranges import KINDS
from app.services.subnet_rules import BOOT_ARCHITECTURES, REVERSE_DNS, UNKNOWN_CLIENTS
from app.web.forms import Answer, Field, Form, ask, both, choices, names, removal
from app.web.network_forms import BACK, vlan_choices

BOOTS = {"bios": "BIOS machines", "uefi-x64": "UEFI machines over TFTP", "uefi-http": "UEFI machines over HTTP"}


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    for path, view in (
        ("/subnets/new", subnet_new),
        ("/subnets/<#subnet_id>/edit", subnet_edit),
        ("/subnets/<#subnet_id>/delete", subnet_delete),
        ("/subnets/<#subnet_id>/ranges/new", range_new),
        ("/subnets/<#subnet_id>/reserve", address_reserve),
        ("/ranges/<#range_id>/edit", range_edit),
        ("/ranges/<#range_id>/delete", range_delete),
        ("/subnets/<#subnet_id>/addresses/<#address_id>/delete", address_delete),
    ):
        both(blueprint, path, view)


def _subnet_fields(context: Context, row: Any = None) -> tuple[Field, ...]:
    off = row.disabled_boot_architectures if row else ()
    return (
        Field("name", "Name", value=row.name if row else "", help="Empty: named after its network."),
        Field("description", "Description", "area", row.description if row else "", empty=""),
        Field("vlan_id", "VLAN", "choice", row.vlan_id if row else request.args.get("vlan", ""), number=True, empty=0,
              choices=vlan_choices(context), required=True),
        Field("gateway", "Gateway", value=row.gateway if row else "", help="The router's address in this subnet."),
        Field("dns_servers", "DNS servers", "words", row.dns_servers if row else (),
              help="Addresses apart by blanks. Empty: the rack itself."),
        Field("domain_id", "Domain", "choice", row.domain_id if row else "", number=True, empty=0 if row else None,
              choices=choices(domains.find(context))),
        Field("reverse_dns", "Reverse DNS", "choice", row.reverse_dns if row else "rfc2317", choices=names(REVERSE_DNS),
              empty="rfc2317", help="rfc2317: a network smaller than a /24 gets a zone of its own."),
        Field("lease_seconds", "Lease time in seconds", "number", row.lease_seconds if row else 600, empty=600),
        Field("boot_lease_seconds", "Lease time of clients that boot", "number",
              row.boot_lease_seconds if row else 120, empty=120, help="In seconds."),
        Field("unknown_clients", "Unknown clients", "choice", row.unknown_clients if row else "serve", empty="serve",
              choices=names(UNKNOWN_CLIENTS), help="Whether DHCP answers MAC addresses that nobody has told Muster of."),
        Field("managed", "Give addresses to machines", "check", row.managed if row else True,
              "Muster hands out what lies outside the ranges; else only what lies inside reserved ranges."),
        Field("allow_dns", "Let its clients ask the racks' DNS for other names", "check", row.allow_dns if row else True),
        Field("allow_proxy", "Let its clients use the racks' proxy", "check", row.allow_proxy if row else True),
        Field("slaac", "Clients make up their own addresses (SLAAC)", "check", row.slaac if row else False,
              "Of an IPv6 /64, from router advertisements."),
        *(Field(f"boot.{name}", f"Boot {BOOTS.get(name, name)}", "check", name not in off) for name in BOOT_ARCHITECTURES),
    )  # fmt: skip


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """What was sent, as the service has it."""
    off = [name for name in BOOT_ARCHITECTURES if not given[f"boot.{name}"]]
    kept = {name: value for name, value in given.items() if not name.startswith("boot.")}
    return {**kept, "disabled_boot_architectures": off}


def subnet_new() -> Answer:
    """Add a subnet."""
    context = current_context()
    cidr = Field("cidr", "Network", required=True, empty="", help="Like 10.20.0.0/24 or 2001:db8::/64.")
    form = Form("Add a subnet", "Add subnet", BACK, (cidr, *_subnet_fields(context)))

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        row = subnets.create(context, **_settings(given))
        return f"/subnets/{row.id}", f"Subnet {row.cidr} was added."

    return ask(form, "admin", "add a subnet", call)


def subnet_edit(subnet_id: int) -> Answer:
    """Change a subnet."""
    context = current_context()
    row = subnets.get(context, subnet_id)
    back = (f"/subnets/{row.id}", row.cidr)
    form = Form(f"Edit subnet {row.cidr}", "Save", back, _subnet_fields(context, row), of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        given["name"] = given["name"] or row.cidr
        subnets.update(context, subnet_id, **_settings(given))
        return back[0], f"Subnet {row.cidr} was changed."

    return ask(form, "admin", "change a subnet", call)


def subnet_delete(subnet_id: int) -> Answer:
    """Delete a subnet."""
    row = subnets.get(current_context(), subnet_id)
    form = removal(f"subnet {row.cidr}", (f"/subnets/{row.id}", row.cidr), "Its ranges go with it.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        subnets.delete(context, subnet_id)
        return "/networks", f"Subnet {row.cidr} was deleted."

    return ask(form, "admin", "delete a subnet", call)


def _range_fields(row: Any = None) -> tuple[Field, ...]:
    return (
        Field("kind", "Kind", "choice", row.kind if row else "dynamic", choices=names(KINDS), empty="",
              help="dynamic: DHCP leases from it. reserved: Muster keeps away from it. static_pool: machines get addresses of it."),
        Field("start", "First address", value=row.start if row else "", required=True, empty=""),
        Field("end", "Last address", value=row.end if row else "", required=True, empty=""),
        Field("comment", "Comment", value=row.comment if row else "", empty=""),
    )  # fmt: skip


def range_new(subnet_id: int) -> Answer:
    """Add a range."""
    row = subnets.get(current_context(), subnet_id)
    form = Form(f"Add a range to {row.cidr}", "Add range", (f"/subnets/{row.id}", row.cidr), _range_fields())

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = ranges.create(context, subnet_id, **given)
        return f"/subnets/{subnet_id}", f"The {made.kind} range {made.start} to {made.end} was added."

    return ask(form, "admin", "add a range", call)


def range_edit(range_id: int) -> Answer:
    """Change a range."""
    row = ranges.get(current_context(), range_id)
    back = (f"/subnets/{row.subnet_id}", "Subnet")
    form = Form(f"Edit range {row.start} to {row.end}", "Save", back, _range_fields(row), of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = ranges.update(context, range_id, **given)
        return back[0], f"The range is {made.start} to {made.end} now."

    return ask(form, "admin", "change a range", call)


def range_delete(range_id: int) -> Answer:
    """Delete a range."""
    row = ranges.get(current_context(), range_id)
    back = (f"/subnets/{row.subnet_id}", "Subnet")
    form = removal(f"range {row.start} to {row.end}", back, "Its addresses may then be given to machines.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        ranges.delete(context, range_id)
        return back[0], f"The range {row.start} to {row.end} was deleted."

    return ask(form, "admin", "delete a range", call)


def address_reserve(subnet_id: int) -> Answer:
    """Keep an address for something that Muster does not manage."""
    row = subnets.get(current_context(), subnet_id)
    form = Form(
        f"Reserve an address of {row.cidr}",
        "Reserve",
        (f"/subnets/{row.id}", row.cidr),
        (
            Field("address", "Address", value=request.args.get("address", ""), required=True, empty=""),
            Field("hostname", "For", help="What it is kept for: a printer, a switch."),
        ),
    )

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = addresses.reserve(context, subnet_id, **given)
        return f"/subnets/{subnet_id}", f"{made.address} is reserved."

    return ask(form, "operator", "reserve addresses", call)


def address_delete(subnet_id: int, address_id: int) -> Answer:
    """Give a reserved address back."""
    row = subnets.get(current_context(), subnet_id)
    found = addresses.find(current_context(), subnet_id, after=address_id - 1, limit=1)
    if not found or found[0].id != address_id:
        raise NotFound(f"there is no address {address_id} in subnet {row.cidr}", field="address_id")
    form = removal(
        f"the reservation of {found[0].address}", (f"/subnets/{row.id}", row.cidr), "Machines may get it then."
    )

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        addresses.delete(context, address_id)
        return f"/subnets/{subnet_id}", f"{found[0].address} is free."

    return ask(form, "operator", "free reserved addresses", call)
