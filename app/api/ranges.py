"""Ranges of subnets: dynamic, reserved, static pools."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.subnet import ForceQuery, NewRangeSchema, RangeChangeSchema, RangePage, RangeQuery, RangeSchema
from app.identity import current_context
from app.services import ranges

blueprint = Resource("ranges", "Ranges of subnets: dynamic, reserved, static pools")


@blueprint.get("/ranges")
@allow("viewer", "list ranges")
@blueprint.arguments(RangeQuery, location="query")
@blueprint.response(200, RangePage)
def index(query: dict[str, Any]) -> Any:
    """List ranges."""
    return page(ranges.find(current_context(), **query), query["limit"])


@blueprint.post("/ranges")
@allow("admin", "create ranges")
@blueprint.arguments(NewRangeSchema)
@blueprint.response(201, RangeSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a range."""
    return ranges.create(current_context(), **body)


@blueprint.get("/ranges/<int:range_id>")
@allow("viewer", "see ranges")
@blueprint.shows(RangeSchema)
def show(range_id: int) -> Any:
    """See a range."""
    return ranges.get(current_context(), range_id)


@blueprint.patch("/ranges/<int:range_id>")
@allow("admin", "change ranges")
@blueprint.arguments(ForceQuery, location="query")
@blueprint.arguments(RangeChangeSchema)
@blueprint.response(200, RangeSchema)
def change(query: dict[str, Any], body: dict[str, Any], range_id: int) -> Any:
    """Change a range.

    409 while an address that it would lose is leased or given, naming it and its holder, unless force is true.
    """
    return ranges.update(current_context(), range_id, force=query["force"], **body)


@blueprint.delete("/ranges/<int:range_id>")
@allow("admin", "delete ranges")
@blueprint.arguments(ForceQuery, location="query")
@blueprint.response(204)
def delete(query: dict[str, Any], range_id: int) -> Any:
    """Delete a range that nothing uses.

    409 while an address of it is leased or given, naming it and its holder, unless force is true: then what is leased
    stays leased until it ends.
    """
    ranges.delete(current_context(), range_id, force=query["force"])
    return NO_CONTENT
