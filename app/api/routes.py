"""Static routes between subnets, for DHCP clients and installed systems."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.address import NewRouteSchema, RouteChangeSchema, RoutePage, RouteQuery, RouteSchema
from app.identity import current_context
from app.services import routes

blueprint = Resource("routes", "Static routes between subnets")


@blueprint.get("/routes")
@allow("viewer", "list routes")
@blueprint.arguments(RouteQuery, location="query")
@blueprint.response(200, RoutePage)
def index(query: dict[str, Any]) -> Any:
    """List static routes."""
    return page(routes.find(current_context(), **query), query["limit"])


@blueprint.post("/routes")
@allow("admin", "create routes")
@blueprint.arguments(NewRouteSchema)
@blueprint.response(201, RouteSchema)
def create(body: dict[str, Any]) -> Any:
    """Have clients of the source subnet reach the destination through a gateway."""
    return routes.create(current_context(), **body)


@blueprint.get("/routes/<int:route_id>")
@allow("viewer", "see routes")
@blueprint.shows(RouteSchema)
def show(route_id: int) -> Any:
    """See a static route."""
    return routes.get(current_context(), route_id)


@blueprint.patch("/routes/<int:route_id>")
@allow("admin", "change routes")
@blueprint.arguments(RouteChangeSchema)
@blueprint.response(200, RouteSchema)
def change(body: dict[str, Any], route_id: int) -> Any:
    """Change a static route."""
    return routes.update(current_context(), route_id, **body)


@blueprint.delete("/routes/<int:route_id>")
@allow("admin", "delete routes")
@blueprint.response(204)
def delete(route_id: int) -> Any:
    """Delete a static route; installed systems keep it until they are installed anew."""
    routes.delete(current_context(), route_id)
    return NO_CONTENT
