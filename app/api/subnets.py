"""Subnets: IP networks on VLANs."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, PageQuery, Resource, allow, page
from app.api.schemas.job import JobSchema
from app.api.schemas.subnet import (
    AfterAddressQuery,
    NewSubnetSchema,
    PartPage,
    RenumberingSchema,
    RenumberQuery,
    RenumberSchema,
    StaleGatewayPage,
    StaleRoutesPage,
    SubnetChangeSchema,
    SubnetPage,
    SubnetQuery,
    SubnetSchema,
    SubnetStatisticsSchema,
    UsePage,
)
from app.identity import current_context
from app.services import gateways, installed_routes, renumber_plan, renumbering, subnet_use, subnets

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
    """Change a subnet. A gateway reaches DHCP at once; `stale-gateways` lists machines that were installed with another."""
    context = current_context()
    return subnets.get(context, subnets.update(context, subnet_id, **body).id)


@blueprint.delete("/subnets/<int:subnet_id>")
@allow("admin", "delete subnets")
@blueprint.response(204)
def delete(subnet_id: int) -> Any:
    """Delete a subnet that nothing uses."""
    subnets.delete(current_context(), subnet_id)
    return NO_CONTENT


@blueprint.get("/subnets/<int:subnet_id>/statistics")
@allow("viewer", "see subnets")
@blueprint.shows(SubnetStatisticsSchema)
def statistics(subnet_id: int) -> Any:
    """See a subnet in numbers of addresses."""
    return subnet_use.statistics(current_context(), subnet_id)


@blueprint.get("/subnets/<int:subnet_id>/free-ranges")
@allow("viewer", "see subnets")
@blueprint.arguments(AfterAddressQuery, location="query")
@blueprint.response(200, PartPage)
def free_ranges(query: dict[str, Any], subnet_id: int) -> Any:
    """List intervals that Muster may hand out and nobody has."""
    found = subnet_use.free(current_context(), subnet_id, **query)
    return {"items": found, "next": found[-1].end if len(found) == query["limit"] else None}


@blueprint.get("/subnets/<int:subnet_id>/reserved-ranges")
@allow("viewer", "see subnets")
@blueprint.shows(PartPage)
def reserved_ranges(subnet_id: int) -> Any:
    """List intervals that ranges, the gateway and routes keep."""
    return {"items": subnet_use.kept(current_context(), subnet_id), "next": None}


@blueprint.get("/subnets/<int:subnet_id>/addresses")
@allow("viewer", "see subnets")
@blueprint.arguments(AfterAddressQuery, location="query")
@blueprint.response(200, UsePage)
def addresses(query: dict[str, Any], subnet_id: int) -> Any:
    """List addresses in use with who has them, in the order of addresses; also what was only observed.

    Go on while there is a `next`; a page may be shorter than was asked for.
    """
    found = subnet_use.addresses(current_context(), subnet_id, **query)
    return {"items": found, "next": found[-1].address if found else None}


@blueprint.get("/subnets/<int:subnet_id>/stale-gateways")
@allow("viewer", "see subnets")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, StaleGatewayPage)
def stale_gateways(query: dict[str, Any], subnet_id: int) -> Any:
    """List deployed machines that were installed with another gateway than the subnet has now."""
    return page(gateways.stale(current_context(), subnet_id, **query), query["limit"])


@blueprint.get("/subnets/<int:subnet_id>/renumber")
@allow("admin", "renumber subnets")
@blueprint.arguments(RenumberQuery, location="query")
@blueprint.response(200, RenumberingSchema)
def renumber_preview(query: dict[str, Any], subnet_id: int) -> Any:
    """See what renumbering a subnet would move, what stays, and what speaks against it."""
    return renumber_plan.preview(current_context(), subnet_id, **query)


@blueprint.post("/subnets/<int:subnet_id>/renumber")
@allow("admin", "renumber subnets")
@blueprint.arguments(RenumberSchema)
@blueprint.response(202, JobSchema)
def renumber(body: dict[str, Any], subnet_id: int) -> Any:
    """Move everything in a subnet to another network of its VLAN, each address to its place there.

    Both networks are valid until the job has moved all: ended before, it leaves whole owners in one or the other, and
    asking again goes on.  Installed machines stay until they are released, and the old subnet for them.
    """
    return renumbering.start(current_context(), subnet_id, **body)


@blueprint.get("/subnets/<int:subnet_id>/stale-routes")
@allow("viewer", "see subnets")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, StaleRoutesPage)
def stale_routes(query: dict[str, Any], subnet_id: int) -> Any:
    """List deployed machines that were installed with other static routes than the subnet has now."""
    return page(installed_routes.stale(current_context(), subnet_id, **query), query["limit"])
