"""Subnets: IP networks on VLANs."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.subnet import NewSubnetSchema, SubnetChangeSchema, SubnetPage, SubnetQuery, SubnetSchema
from app.identity import current_context
from app.services import subnets

blueprint = Resource("subnets", "Subnets: IP networks on VLANs")


@blueprint.get("/subnets")
@allow("viewer", "list subnets")
@blueprint.arguments(SubnetQuery, location="query")
@blueprint.response(200, SubnetPage)
def index(query: dict[str, Any]) -> Any:
    """List subnets."""
    return page(subnets.find(current_context(), **query), query["limit"])


@blueprint.post("/subnets")
@allow("admin", "create subnets")
@blueprint.arguments(NewSubnetSchema)
@blueprint.response(201, SubnetSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a subnet."""
    context = current_context()
    return subnets.get(context, subnets.create(context, **body).id)


@blueprint.get("/subnets/<int:subnet_id>")
@allow("viewer", "see subnets")
@blueprint.shows(SubnetSchema)
def show(subnet_id: int) -> Any:
    """See a subnet."""
    return subnets.get(current_context(), subnet_id)


@blueprint.patch("/subnets/<int:subnet_id>")
@allow("admin", "change subnets")
@blueprint.arguments(SubnetChangeSchema)
@blueprint.response(200, SubnetSchema)
def change(body: dict[str, Any], subnet_id: int) -> Any:
    """Change a subnet."""
    context = current_context()
    return subnets.get(context, subnets.update(context, subnet_id, **body).id)


@blueprint.delete("/subnets/<int:subnet_id>")
@allow("admin", "delete subnets")
@blueprint.response(204)
def delete(subnet_id: int) -> Any:
    """Delete a subnet that nothing uses."""
    subnets.delete(current_context(), subnet_id)
    return NO_CONTENT
