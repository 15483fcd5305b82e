"""Neighbours: addresses that racks have seen in use."""

from __future__ import annotations

from typing import Any

from app.api.frame import Resource, allow, page
from app.api.schemas.neighbour import NeighbourPage, NeighbourQuery
from app.identity import current_context
from app.services import neighbours

blueprint = Resource("neighbours", "Neighbours: addresses that racks have seen in use")


@blueprint.get("/neighbours")
@allow("viewer", "list neighbours")
@blueprint.arguments(NeighbourQuery, location="query")
@blueprint.response(200, NeighbourPage)
def index(query: dict[str, Any]) -> Any:
    """List addresses that racks have seen in use, given by us or not."""
    return page(neighbours.find(current_context(), **query), query["limit"])
