"""The network changed by hand: fabrics, VLANs and spaces."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from app.identity import current_context
from app.services import fabrics, racks, spaces, vlans
from app.services.context import Context
from app.web.forms import Answer, Choices, Field, Form, ask, both, choices, removal

BACK = ("/networks", "Networks")
NONE = ("", "none")


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    for path, view in (
        ("/fabrics/new", fabric_new),
        ("/fabrics/<#fabric_id>/edit", fabric_edit),
        ("/fabrics/<#fabric_id>/delete", fabric_delete),
        ("/vlans/new", vlan_new),
        ("/vlans/<#vlan_id>/edit", vlan_edit),
        ("/vlans/<#vlan_id>/delete", vlan_delete),
        ("/spaces/new", space_new),
        ("/spaces/<#space_id>/edit", space_edit),
        ("/spaces/<#space_id>/delete", space_delete),
    ):
        both(blueprint, path, view)


def fabric_new() -> Answer:
    """Add a fabric."""
    form = Form("Add a fabric", "Add fabric", BACK, (Field("name", "Name", required=True, empty=""),))
    return ask(
        form, "admin", "add a fabric",
        lambda context, given: ("/networks", f"Fabric {fabrics.create(context, **given).name} was added."),
    )  # fmt: skip


def fabric_edit(fabric_id: int) -> Answer:
    """Rename a fabric."""
    row = fabrics.get(current_context(), fabric_id)
    form = Form(
        f"Edit fabric {row.name}",
        "Save",
        BACK,
        (Field("name", "Name", value=row.name, required=True, empty=""),),
        of=row,
    )
    return ask(
        form, "admin", "change a fabric",
        lambda context, given: ("/networks", f"The fabric is {fabrics.update(context, fabric_id, **given).name} now."),
    )  # fmt: skip


def fabric_delete(fabric_id: int) -> Answer:
    """Delete a fabric."""
    name = fabrics.get(current_context(), fabric_id).name
    form = removal(f"fabric {name}", BACK, "Its VLANs go with it. Subnets and machines must have left it before.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        fabrics.delete(context, fabric_id)
        return "/networks", f"Fabric {name} was deleted."

    return ask(form, "admin", "delete a fabric", call)


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
            *_joins(context),
        ),
    )  # fmt: skip
    return ask(
        form, "admin", "add a VLAN",
        lambda context, given: ("/networks", f"VLAN {vlans.create(context, **given).name} was added."),
    )  # fmt: skip


def vlan_edit(vlan_id: int) -> Answer:
    """Change a VLAN: its rack, and whether DHCP is served."""
    context = current_context()
    row = vlans.get(context, vlan_id)
    hosts = (NONE, *choices(racks.find(context)))
    form = Form(
        f"Edit VLAN {row.name} of {row.fabric.name}",
        "Save",
        BACK,
        (
            Field("name", "Name", value=row.name, required=True, empty=""),
            Field("vid", "Tag (VID)", "number", row.vid, required=True, empty=0),
            Field("mtu", "MTU", "number", row.mtu, empty=1500),
            Field("rack_id", "Rack", "choice", row.rack_id, number=True, choices=hosts,
                  help="The rack host that serves this VLAN."),
            Field("secondary_rack_id", "Secondary rack", "choice", row.secondary_rack_id, number=True, choices=hosts,
                  help="It stands by and takes over when the first one is silent."),
            *_joins(context, row),
            Field("dhcp_on", "Serve DHCP", "check", row.dhcp_on, "The rack needs an address in one of its subnets."),
            Field("router_advertisements", "Send router advertisements (IPv6)", "check", row.router_advertisements),
        ),
        of=row,
    )  # fmt: skip

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        changed = vlans.update(context, vlan_id, **{**given, "name": given["name"] or row.name})
        return "/networks", f"VLAN {changed.name} was changed."

    return ask(form, "admin", "change a VLAN", call)


def vlan_delete(vlan_id: int) -> Answer:
    """Delete a VLAN."""
    row = vlans.get(current_context(), vlan_id)
    form = removal(f"VLAN {row.name}", BACK, "Subnets and machines must have left it before.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        vlans.delete(context, vlan_id)
        return "/networks", f"VLAN {row.name} was deleted."

    return ask(form, "admin", "delete a VLAN", call)


def space_new() -> Answer:
    """Add a space."""
    form = Form("Add a space", "Add space", BACK, _space_fields(), "Subnets of the VLANs in a space reach each other.")
    return ask(
        form, "admin", "add a space",
        lambda context, given: ("/networks", f"Space {spaces.create(context, **given).name} was added."),
    )  # fmt: skip


def space_edit(space_id: int) -> Answer:
    """Rename or describe a space."""
    row = spaces.get(current_context(), space_id)
    form = Form(f"Edit space {row.name}", "Save", BACK, _space_fields(row), of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        spaces.update(context, space_id, **given)
        return "/networks", f"Space {given['name']} was changed."

    return ask(form, "admin", "change a space", call)


def space_delete(space_id: int) -> Answer:
    """Delete a space."""
    row = spaces.get(current_context(), space_id)
    form = removal(f"space {row.name}", BACK, "VLANs must have left it before.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        spaces.delete(context, space_id)
        return "/networks", f"Space {row.name} was deleted."

    return ask(form, "admin", "delete a space", call)


def vlan_choices(context: Context) -> Choices:
    """All VLANs with their fabrics."""
    return tuple((str(row.id), f"{row.fabric.name}, {row.name} ({row.vid})") for row in vlans.find(context))


def _joins(context: Context, row: Any = None) -> tuple[Field, ...]:
    """What a VLAN belongs to."""
    others = tuple(one for one in vlan_choices(context) if row is None or one[0] != str(row.id))
    return (
        Field("relay_vlan_id", "Relayed to VLAN", "choice", row.relay_vlan_id if row else "", number=True,
              choices=(NONE, *others), help="A relay agent brings its DHCP to that VLAN's racks; it has no rack itself."),
        Field("space_id", "Space", "choice", row.space_id if row else "", number=True,
              choices=(NONE, *choices(spaces.find(context)))),
    )  # fmt: skip


def _space_fields(row: Any = None) -> tuple[Field, ...]:
    return (
        Field("name", "Name", value=row.name if row else "", required=True, empty=""),
        Field("description", "Description", "area", row.description if row else "", empty=""),
    )
