"""The network changed by hand: fabrics, VLANs, subnets, ranges, reserved addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, request

from app.identity import current_context
from app.services import addresses, domains, fabrics, racks, ranges, subnets, vlans
from app.services.context import Context
from app.services.errors import NotFound
from app.services.ranges import KINDS
from app.web.forms import Answer, Choices, Field, Form, choices, done, names

LARGEST = 2**53
BACK = ("/networks", "Networks")


def register(blueprint: Blueprint) -> None:
    """Add these pages."""

    def both(path: str, view: Callable[..., Answer]) -> None:
        blueprint.add_url_rule(path.replace("#", f"int(max={LARGEST}):"), view.__name__, view, methods=["GET", "POST"])

    both("/fabrics/new", fabric_new)
    both("/fabrics/<#fabric_id>/edit", fabric_edit)
    both("/fabrics/<#fabric_id>/delete", fabric_delete)
    both("/vlans/new", vlan_new)
    both("/vlans/<#vlan_id>/edit", vlan_edit)
    both("/vlans/<#vlan_id>/delete", vlan_delete)
    both("/subnets/new", subnet_new)
    both("/subnets/<#subnet_id>/edit", subnet_edit)
    both("/subnets/<#subnet_id>/delete", subnet_delete)
    both("/subnets/<#subnet_id>/ranges/new", range_new)
    both("/subnets/<#subnet_id>/reserve", address_reserve)
    both("/ranges/<#range_id>/edit", range_edit)
    both("/ranges/<#range_id>/delete", range_delete)
    both("/subnets/<#subnet_id>/addresses/<#address_id>/delete", address_delete)


def _ask(form: Form, role: str, doing: str, call: Callable[[Context, dict[str, Any]], tuple[str, str]]) -> Answer:
    """Run a form for callers of a role; `call` answers where to go and what to say."""
    context = current_context()
    context.require(role, doing)
    return form.run(context, lambda given: done(*call(context, given)))


def _removal(what: str, back: tuple[str, str], intro: str) -> Form:
    return Form(f"Delete {what}?", f"Delete {what}", back, intro=intro, danger=True)


def fabric_new() -> Answer:
    """Add a fabric."""
    form = Form("Add a fabric", "Add fabric", BACK, (Field("name", "Name", required=True, empty=""),))
    return _ask(
        form, "admin", "add a fabric",
        lambda context, given: ("/networks", f"Fabric {fabrics.create(context, **given).name} was added."),
    )  # fmt: skip


def fabric_edit(fabric_id: int) -> Answer:
    """Rename a fabric."""
    row = fabrics.get(current_context(), fabric_id)
    form = Form(
        f"Edit fabric {row.name}", "Save", BACK, (Field("name", "Name", value=row.name, required=True, empty=""),)
    )
    return _ask(
        form, "admin", "change a fabric",
        lambda context, given: ("/networks", f"The fabric is {fabrics.update(context, fabric_id, **given).name} now."),
    )  # fmt: skip


def fabric_delete(fabric_id: int) -> Answer:
    """Delete a fabric."""
    name = fabrics.get(current_context(), fabric_id).name
    form = _removal(f"fabric {name}", BACK, "Its VLANs go with it. Subnets and machines must have left it before.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        fabrics.delete(context, fabric_id)
        return "/networks", f"Fabric {name} was deleted."

    return _ask(form, "admin", "delete a fabric", call)


def vlan_new() -> Answer:
    """Add a VLAN."""
    context = current_context()
    form = Form(
        "Add a VLAN",
        "Add VLAN",
        BACK,
        (
            Field("fabric_id", "Fabric", "choice", request.args.get("fabric", ""), choices=choices(fabrics.find(context)),
                  number=True, required=True, empty=0),
            Field("vid", "Tag (VID)", "number", required=True, empty=-1, help="0 to 4094; 0 is the untagged one."),
            Field("name", "Name", help="Empty: named after its tag."),
            Field("mtu", "MTU", "number", 1500, empty=1500),
        ),
    )  # fmt: skip
    return _ask(
        form, "admin", "add a VLAN",
        lambda context, given: ("/networks", f"VLAN {vlans.create(context, **given).name} was added."),
    )  # fmt: skip


def vlan_edit(vlan_id: int) -> Answer:
    """Change a VLAN: its rack, and whether DHCP is served."""
    context = current_context()
    row = vlans.get(context, vlan_id)
    form = Form(
        f"Edit VLAN {row.name} of {row.fabric.name}",
        "Save",
        BACK,
        (
            Field("name", "Name", value=row.name, required=True, empty=""),
            Field("vid", "Tag (VID)", "number", row.vid, required=True, empty=0),
            Field("mtu", "MTU", "number", row.mtu, empty=1500),
            Field("rack_id", "Rack", "choice", row.rack_id, number=True,
                  choices=(("", "none"), *choices(racks.find(context))), help="The rack host that serves this VLAN."),
            Field("dhcp_on", "Serve DHCP", "check", row.dhcp_on, "The rack needs an address in one of its subnets."),
            Field("router_advertisements", "Send router advertisements (IPv6)", "check", row.router_advertisements),
        ),
    )  # fmt: skip

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        changed = vlans.update(context, vlan_id, **{**given, "name": given["name"] or row.name})
        return "/networks", f"VLAN {changed.name} was changed."

    return _ask(form, "admin", "change a VLAN", call)


def vlan_delete(vlan_id: int) -> Answer:
    """Delete a VLAN."""
    row = vlans.get(current_context(), vlan_id)
    form = _removal(f"VLAN {row.name}", BACK, "Subnets and machines must have left it before.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        vlans.delete(context, vlan_id)
        return "/networks", f"VLAN {row.name} was deleted."

    return _ask(form, "admin", "delete a VLAN", call)


def _subnet_fields(context: Context, row: Any = None) -> tuple[Field, ...]:
    return (
        Field("name", "Name", value=row.name if row else "", help="Empty: named after its network."),
        Field("vlan_id", "VLAN", "choice", row.vlan_id if row else request.args.get("vlan", ""), number=True, empty=0,
              choices=_vlans(context), required=True),
        Field("gateway", "Gateway", value=row.gateway if row else "", help="The router's address in this subnet."),
        Field("dns_servers", "DNS servers", "words", row.dns_servers if row else (),
              help="Addresses apart by blanks. Empty: the rack itself."),
        Field("domain_id", "Domain", "choice", row.domain_id if row else "", number=True,
            empty=0 if row else None,
              choices=choices(domains.find(context))),
        Field("lease_seconds", "Lease time in seconds", "number", row.lease_seconds if row else 600, empty=600),
        Field("managed", "Give addresses to machines", "check", row.managed if row else True,
              "Muster hands out what lies outside the ranges."),
    )  # fmt: skip


def subnet_new() -> Answer:
    """Add a subnet."""
    context = current_context()
    cidr = Field("cidr", "Network", required=True, empty="", help="Like 10.20.0.0/24 or 2001:db8::/64.")
    form = Form("Add a subnet", "Add subnet", BACK, (cidr, *_subnet_fields(context)))

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        row = subnets.create(context, **given)
        return f"/subnets/{row.id}", f"Subnet {row.cidr} was added."

    return _ask(form, "admin", "add a subnet", call)


def subnet_edit(subnet_id: int) -> Answer:
    """Change a subnet."""
    context = current_context()
    row = subnets.get(context, subnet_id)
    form = Form(f"Edit subnet {row.cidr}", "Save", (f"/subnets/{row.id}", row.cidr), _subnet_fields(context, row))

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        given["name"] = given["name"] or row.cidr
        subnets.update(context, subnet_id, **given)
        return f"/subnets/{subnet_id}", f"Subnet {row.cidr} was changed."

    return _ask(form, "admin", "change a subnet", call)


def subnet_delete(subnet_id: int) -> Answer:
    """Delete a subnet."""
    row = subnets.get(current_context(), subnet_id)
    form = _removal(f"subnet {row.cidr}", (f"/subnets/{row.id}", row.cidr), "Its ranges go with it.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        subnets.delete(context, subnet_id)
        return "/networks", f"Subnet {row.cidr} was deleted."

    return _ask(form, "admin", "delete a subnet", call)


def _range_fields(row: Any = None) -> tuple[Field, ...]:
    return (
        Field("kind", "Kind", "choice", row.kind if row else "dynamic", choices=names(KINDS), empty="",
              help="dynamic: DHCP leases from it. reserved: Muster keeps away from it."),
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

    return _ask(form, "admin", "add a range", call)


def range_edit(range_id: int) -> Answer:
    """Change a range."""
    row = ranges.get(current_context(), range_id)
    back = (f"/subnets/{row.subnet_id}", "Subnet")
    form = Form(f"Edit range {row.start} to {row.end}", "Save", back, _range_fields(row))

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = ranges.update(context, range_id, **given)
        return back[0], f"The range is {made.start} to {made.end} now."

    return _ask(form, "admin", "change a range", call)


def range_delete(range_id: int) -> Answer:
    """Delete a range."""
    row = ranges.get(current_context(), range_id)
    back = (f"/subnets/{row.subnet_id}", "Subnet")
    form = _removal(f"range {row.start} to {row.end}", back, "Its addresses may then be given to machines.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        ranges.delete(context, range_id)
        return back[0], f"The range {row.start} to {row.end} was deleted."

    return _ask(form, "admin", "delete a range", call)


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

    return _ask(form, "operator", "reserve addresses", call)


def address_delete(subnet_id: int, address_id: int) -> Answer:
    """Give a reserved address back."""
    row = subnets.get(current_context(), subnet_id)
    found = addresses.find(current_context(), subnet_id, after=address_id - 1, limit=1)
    if not found or found[0].id != address_id:
        raise NotFound(f"there is no address {address_id} in subnet {row.cidr}", field="address_id")
    form = _removal(
        f"the reservation of {found[0].address}", (f"/subnets/{row.id}", row.cidr), "Machines may get it then."
    )

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        addresses.delete(context, address_id)
        return f"/subnets/{subnet_id}", f"{found[0].address} is free."

    return _ask(form, "operator", "free reserved addresses", call)


def _vlans(context: Context) -> Choices:
    return tuple((str(row.id), f"{row.fabric.name}, {row.name} ({row.vid})") for row in vlans.find(context))
