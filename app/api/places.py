"""Zones, pools and tags: one shape, so one set of views, made for each kind."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.place import NewPlaceSchema, PlaceChangeSchema, PlacePage, PlaceQuery, PlaceSchema
from app.identity import current_context
from app.services import placement


def _views(blueprint: Resource, word: str, role: str) -> None:
    def name(view: Any, verb: str) -> Any:
        view.__name__ = f"{word}_{verb}"
        return view

    @allow("viewer", f"list {word}s")
    @blueprint.arguments(PlaceQuery, location="query")
    @blueprint.response(200, PlacePage)
    def index(query: dict[str, Any]) -> Any:
        """List them."""
        return page(placement.find(current_context(), word, **query), query["limit"])

    @allow(role, f"create {word}s")
    @blueprint.arguments(NewPlaceSchema)
    @blueprint.response(201, PlaceSchema)
    def create(body: dict[str, Any]) -> Any:
        """Create one."""
        return placement.create(current_context(), word, **body)

    @allow("viewer", f"see {word}s")
    @blueprint.shows(PlaceSchema)
    def show(place_id: int) -> Any:
        """See one."""
        return placement.get(current_context(), word, place_id)

    @allow(role, f"change {word}s")
    @blueprint.arguments(PlaceChangeSchema)
    @blueprint.response(200, PlaceSchema)
    def change(body: dict[str, Any], place_id: int) -> Any:
        """Change one."""
        return placement.update(current_context(), word, place_id, **body)

    @allow(role, f"delete {word}s")
    @blueprint.response(204)
    def delete(place_id: int) -> Any:
        """Delete one."""
        placement.delete(current_context(), word, place_id)
        return NO_CONTENT

    blueprint.get(f"/{word}s")(name(index, "list"))
    blueprint.post(f"/{word}s")(name(create, "create"))
    blueprint.get(f"/{word}s/<int:place_id>")(name(show, "show"))
    blueprint.patch(f"/{word}s/<int:place_id>")(name(change, "change"))
    blueprint.delete(f"/{word}s/<int:place_id>")(name(delete, "delete"))


blueprint = Resource("places", "Zones, pools and tags of machines")
for _kind in placement.KINDS.values():
    _views(blueprint, _kind.word, _kind.role)
