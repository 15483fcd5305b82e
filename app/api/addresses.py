"""Addresses in use: given to machines and racks, or reserved by hand."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.address import AddressPage, AddressQuery, AddressSchema, NewAddressSchema
from app.identity import current_context
from app.services import addresses, machines

blueprint = Resource("addresses", "Addresses in use: given to machines and racks, or reserved by hand")


@blueprint.get("/addresses")
@allow("viewer", "list addresses")
@blueprint.arguments(AddressQuery, location="query")
@blueprint.response(200, AddressPage)
def index(query: dict[str, Any]) -> Any:
    """List addresses in use."""
    context = current_context()
    machine = query.pop("machine", None)
    machine_id = machines.identify(context, machine) if machine else None
    return page(addresses.find(context, machine_id=machine_id, **query), query["limit"])


@blueprint.post("/addresses")
@allow("operator", "reserve addresses")
@blueprint.arguments(NewAddressSchema)
@blueprint.response(201, AddressSchema)
def reserve(body: dict[str, Any]) -> Any:
    """Keep an address for something that Muster does not manage."""
    return addresses.reserve(current_context(), **body)


@blueprint.get("/addresses/<int:address_id>")
@allow("viewer", "see addresses")
@blueprint.shows(AddressSchema)
def show(address_id: int) -> Any:
    """See an address in use."""
    return addresses.get(current_context(), address_id)


@blueprint.delete("/addresses/<int:address_id>")
@allow("operator", "free reserved addresses")
@blueprint.response(204)
def delete(address_id: int) -> Any:
    """Give a reserved address back."""
    addresses.delete(current_context(), address_id)
    return NO_CONTENT
