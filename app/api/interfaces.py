"""Interfaces of machines and devices, and how each gets its addresses."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.device import InterfacePage, InterfaceQuery, LinkedInterfaceSchema, NewLinkSchema
from app.identity import current_context
from app.services import interfaces, links

blueprint = Resource("interfaces", "Interfaces of machines and devices, and their links to subnets")


@blueprint.get("/interfaces")
@allow("viewer", "list interfaces")
@blueprint.arguments(InterfaceQuery, location="query")
@blueprint.response(200, InterfacePage)
def index(query: dict[str, Any]) -> Any:
    """List interfaces with their links and addresses."""
    return page(interfaces.find(current_context(), **query), query["limit"])


@blueprint.get("/interfaces/<int:interface_id>")
@allow("viewer", "see interfaces")
@blueprint.shows(LinkedInterfaceSchema)
def show(interface_id: int) -> Any:
    """See an interface."""
    return interfaces.get(current_context(), interface_id)


@blueprint.put("/interfaces/<int:interface_id>/links/<int:subnet_id>")
@allow("operator", "link interfaces")
@blueprint.arguments(NewLinkSchema)
@blueprint.response(200, LinkedInterfaceSchema)
def link(body: dict[str, Any], interface_id: int, subnet_id: int) -> Any:
    """Say how an interface gets its address in a subnet; DHCP and DNS follow at once."""
    return links.put(current_context(), interface_id, subnet_id, **body)


@blueprint.delete("/interfaces/<int:interface_id>/links/<int:subnet_id>")
@allow("operator", "link interfaces")
@blueprint.response(204)
def unlink(interface_id: int, subnet_id: int) -> Any:
    """Take a link away, with the address that it gave."""
    links.remove(current_context(), interface_id, subnet_id)
    return NO_CONTENT
