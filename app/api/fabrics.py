"""Fabrics: VLANs that can reach each other at layer 2."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.vlan import (
    FabricChangeSchema,
    FabricPage,
    FabricQuery,
    FabricSchema,
    MergeSchema,
    NewFabricSchema,
)
from app.identity import current_context
from app.services import fabrics, merging

blueprint = Resource("fabrics", "Fabrics: VLANs that can reach each other at layer 2")


@blueprint.get("/fabrics")
@allow("viewer", "list fabrics")
@blueprint.arguments(FabricQuery, location="query")
@blueprint.response(200, FabricPage)
def index(query: dict[str, Any]) -> Any:
    """List fabrics."""
    return page(fabrics.find(current_context(), **query), query["limit"])


@blueprint.post("/fabrics")
@allow("admin", "create fabrics")
@blueprint.arguments(NewFabricSchema)
@blueprint.response(201, FabricSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a fabric."""
    return fabrics.create(current_context(), **body)


@blueprint.get("/fabrics/<int:fabric_id>")
@allow("viewer", "see fabrics")
@blueprint.shows(FabricSchema)
def show(fabric_id: int) -> Any:
    """See a fabric."""
    return fabrics.get(current_context(), fabric_id)


@blueprint.patch("/fabrics/<int:fabric_id>")
@allow("admin", "change fabrics")
@blueprint.arguments(FabricChangeSchema)
@blueprint.response(200, FabricSchema)
def change(body: dict[str, Any], fabric_id: int) -> Any:
    """Change a fabric."""
    return fabrics.update(current_context(), fabric_id, **body)


@blueprint.post("/fabrics/<int:fabric_id>/merge")
@allow("admin", "merge fabrics")
@blueprint.arguments(MergeSchema)
@blueprint.response(200, FabricSchema)
def merge(body: dict[str, Any], fabric_id: int) -> Any:
    """Merge a fabric into another one, which stays: VLANs of the same tag become one."""
    return merging.fabrics(current_context(), fabric_id, body["into_id"])


@blueprint.delete("/fabrics/<int:fabric_id>")
@allow("admin", "delete fabrics")
@blueprint.response(204)
def delete(fabric_id: int) -> Any:
    """Delete a fabric that nothing uses."""
    fabrics.delete(current_context(), fabric_id)
    return NO_CONTENT
