"""Spaces: VLANs whose subnets may reach each other at layer 3."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.vlan import NewSpaceSchema, SpaceChangeSchema, SpacePage, SpaceQuery, SpaceSchema
from app.identity import current_context
from app.services import spaces

blueprint = Resource("spaces", "Spaces: VLANs whose subnets may reach each other at layer 3")


@blueprint.get("/spaces")
@allow("viewer", "list spaces")
@blueprint.arguments(SpaceQuery, location="query")
@blueprint.response(200, SpacePage)
def index(query: dict[str, Any]) -> Any:
    """List spaces."""
    return page(spaces.find(current_context(), **query), query["limit"])


@blueprint.post("/spaces")
@allow("admin", "create spaces")
@blueprint.arguments(NewSpaceSchema)
@blueprint.response(201, SpaceSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a space; VLANs join it by their `space_id`."""
    return spaces.create(current_context(), **body)


@blueprint.get("/spaces/<int:space_id>")
@allow("viewer", "see spaces")
@blueprint.shows(SpaceSchema)
def show(space_id: int) -> Any:
    """See a space."""
    return spaces.get(current_context(), space_id)


@blueprint.patch("/spaces/<int:space_id>")
@allow("admin", "change spaces")
@blueprint.arguments(SpaceChangeSchema)
@blueprint.response(200, SpaceSchema)
def change(body: dict[str, Any], space_id: int) -> Any:
    """Change a space."""
    context = current_context()
    spaces.update(context, space_id, **body)
    return spaces.get(context, space_id)


@blueprint.delete("/spaces/<int:space_id>")
@allow("admin", "delete spaces")
@blueprint.response(204)
def delete(space_id: int) -> Any:
    """Delete a space that no VLAN is in."""
    spaces.delete(current_context(), space_id)
    return NO_CONTENT
