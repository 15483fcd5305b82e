"""The network: fabrics with their VLANs and subnets, and one subnet with its address map, ranges and reservations."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.services import (
    address_map,
    fabrics,
    gateways,
    installed_routes,
    racks,
    reservations,
    routes,
    spaces,
    subnets,
    vlans,
)
from app.web import address_cells
from app.web.forms import LARGEST, after_id

SUBNET = f"<int(max={LARGEST}):subnet_id>"
PAGE = 200


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/networks", "network_list", network_list)
    blueprint.add_url_rule(f"/subnets/{SUBNET}", "subnet_page", subnet_page)


def network_list() -> str:
    """A page of subnets by id, grouped by fabric and VLAN; the first one also shows VLANs without a subnet."""
    context = current_context()
    after = after_id()
    found = subnets.find(context, after=after, limit=PAGE)
    known = vlans.find(context)
    groups = []
    for fabric in fabrics.find(context):
        own = [vlan for vlan in known if vlan.fabric_id == fabric.id]
        inside = [(vlan, [subnet for subnet in found if subnet.vlan_id == vlan.id]) for vlan in own]
        inside = [(vlan, rows) for vlan, rows in inside if rows or not after]
        if inside or not after:
            groups.append((fabric, sorted(inside, key=lambda pair: pair[0].vid)))
    return render_template(
        "networks.html",
        context=context,
        groups=groups,
        vlans={vlan.id: vlan for vlan in known},
        racks={rack.id: rack for rack in racks.find(context)},
        spaces=spaces.find(context),
        first_page="/networks" if after else None,
        next_page=f"/networks?after={found[-1].id}" if len(found) == PAGE else None,
    )


def subnet_page(subnet_id: int) -> str:
    """One subnet, or (`block`) a part of it."""
    context = current_context()
    block, after = request.args.get("block"), after_id()
    seen = address_map.read(context, subnet_id, block)
    drawn = address_cells.draw(seen)
    template = "_subnet_live.html" if request.headers.get("HX-Request") else "subnet.html"
    query = request.query_string.decode("ascii", "replace")
    reserved = reservations.find(context, subnet_id, after, PAGE)
    return render_template(
        template, context=context, map=seen, subnet=seen.subnet, drawn=drawn, kinds=address_cells.KINDS,
        how=address_cells.how,
        reservations=reserved, routes=routes.find(context, subnet_id=subnet_id, limit=PAGE),
        stale=gateways.stale(context, subnet_id, limit=PAGE),
        stale_routes=installed_routes.stale(context, subnet_id, limit=PAGE),
        source=f"/subnets/{subnet_id}" + (f"?{query}" if query else ""),
        first_page=f"/subnets/{subnet_id}" if after else None,
        next_page=f"/subnets/{subnet_id}?after={reserved[-1].id}" if len(reserved) == PAGE else None,
    )  # fmt: skip
