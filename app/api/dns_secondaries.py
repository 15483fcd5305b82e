"""Outside DNS servers that may copy zones."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.dns import (
    NewSecondarySchema,
    SecondaryChangeSchema,
    SecondaryPage,
    SecondaryQuery,
    SecondarySchema,
    ShownSecondarySchema,
)
from app.identity import current_context
from app.services import dns_secondaries
from app.services.dns_secondaries import NewKey

blueprint = Resource("dns_secondaries", "Outside DNS servers that may copy zones")


@blueprint.get("/dns-secondaries")
@allow("viewer", "list DNS secondaries")
@blueprint.arguments(SecondaryQuery, location="query")
@blueprint.response(200, SecondaryPage)
def index(query: dict[str, Any]) -> Any:
    """List outside secondaries, without their keys."""
    return page(dns_secondaries.find(current_context(), **query), query["limit"])


@blueprint.post("/dns-secondaries")
@allow("admin", "add DNS secondaries")
@blueprint.arguments(NewSecondarySchema)
@blueprint.response(201, ShownSecondarySchema)
def create(body: dict[str, Any]) -> Any:
    """Add an outside secondary. Its key is shown only now."""
    return _shown(dns_secondaries.create(current_context(), **body))


@blueprint.get("/dns-secondaries/<int:secondary_id>")
@allow("viewer", "see DNS secondaries")
@blueprint.shows(SecondarySchema)
def show(secondary_id: int) -> Any:
    """See an outside secondary, without its key."""
    return dns_secondaries.get(current_context(), secondary_id)


@blueprint.patch("/dns-secondaries/<int:secondary_id>")
@allow("admin", "change DNS secondaries")
@blueprint.arguments(SecondaryChangeSchema)
@blueprint.response(200, SecondarySchema)
def change(body: dict[str, Any], secondary_id: int) -> Any:
    """Change where an outside secondary is told of changes."""
    return dns_secondaries.update(current_context(), secondary_id, **body)


@blueprint.post("/dns-secondaries/<int:secondary_id>/new-key")
@allow("admin", "change DNS secondaries")
@blueprint.response(200, ShownSecondarySchema)
def new_key(secondary_id: int) -> Any:
    """Make another key for an outside secondary. It is shown only now; the old one ends."""
    return _shown(dns_secondaries.new_key(current_context(), secondary_id))


@blueprint.delete("/dns-secondaries/<int:secondary_id>")
@allow("admin", "delete DNS secondaries")
@blueprint.response(204)
def delete(secondary_id: int) -> Any:
    """Delete an outside secondary; its key ends."""
    dns_secondaries.delete(current_context(), secondary_id)
    return NO_CONTENT


def _shown(made: NewKey) -> dict[str, Any]:
    row = made.secondary
    names = ("id", "name", "address", "port", "key_name", "algorithm", "version")
    return {**{name: getattr(row, name) for name in names}, "secret": made.secret}
