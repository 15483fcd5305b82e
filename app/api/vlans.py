"""VLANs: broadcast domains; DHCP is switched on here."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.vlan import MergeSchema, NewVlanSchema, VlanChangeSchema, VlanPage, VlanQuery, VlanSchema
from app.identity import current_context
from app.services import merging, vlans

blueprint = Resource("vlans", "VLANs: broadcast domains; DHCP is switched on here")


@blueprint.get("/vlans")
@allow("viewer", "list vlans")
@blueprint.arguments(VlanQuery, location="query")
@blueprint.response(200, VlanPage)
def index(query: dict[str, Any]) -> Any:
    """List vlans."""
    return page(vlans.find(current_context(), **query), query["limit"])


@blueprint.post("/vlans")
@allow("admin", "create vlans")
@blueprint.arguments(NewVlanSchema)
@blueprint.response(201, VlanSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a vlan."""
    context = current_context()
    return vlans.get(context, vlans.create(context, **body).id)


@blueprint.get("/vlans/<int:vlan_id>")
@allow("viewer", "see vlans")
@blueprint.shows(VlanSchema)
def show(vlan_id: int) -> Any:
    """See a vlan."""
    return vlans.get(current_context(), vlan_id)


@blueprint.patch("/vlans/<int:vlan_id>")
@allow("admin", "change vlans")
@blueprint.arguments(VlanChangeSchema)
@blueprint.response(200, VlanSchema)
def change(body: dict[str, Any], vlan_id: int) -> Any:
    """Change a vlan."""
    context = current_context()
    return vlans.get(context, vlans.update(context, vlan_id, **body).id)


@blueprint.post("/vlans/<int:vlan_id>/merge")
@allow("admin", "merge vlans")
@blueprint.arguments(MergeSchema)
@blueprint.response(200, VlanSchema)
def merge(body: dict[str, Any], vlan_id: int) -> Any:
    """Merge a VLAN into another one, which stays: subnets and interfaces move."""
    context = current_context()
    return vlans.get(context, merging.vlans(context, vlan_id, body["into_id"]).id)


@blueprint.delete("/vlans/<int:vlan_id>")
@allow("admin", "delete vlans")
@blueprint.response(204)
def delete(vlan_id: int) -> Any:
    """Delete a vlan that nothing uses."""
    vlans.delete(current_context(), vlan_id)
    return NO_CONTENT
