"""SSH keys of the caller: they are put on the machines that the caller deploys."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.account import KeyPage, KeyQuery, KeySchema, NewKeySchema
from app.identity import current_context
from app.services import keys

blueprint = Resource("keys", "Public SSH keys of the caller")


@blueprint.get("/keys")
@allow("viewer", "list their SSH keys")
@blueprint.arguments(KeyQuery, location="query")
@blueprint.response(200, KeyPage)
def index(query: dict[str, Any]) -> Any:
    """List one's keys (an administrator: also another user's)."""
    return page(keys.find(current_context(), **query), query["limit"])


@blueprint.post("/keys")
@allow("viewer", "add SSH keys")
@blueprint.arguments(NewKeySchema)
@blueprint.response(201, KeySchema)
def create(body: dict[str, Any]) -> Any:
    """Add a key."""
    return keys.add(current_context(), body["public_key"])


@blueprint.get("/keys/<int:key_id>")
@allow("viewer", "see their SSH keys")
@blueprint.shows(KeySchema)
def show(key_id: int) -> Any:
    """See a key."""
    return keys.get(current_context(), key_id)


@blueprint.delete("/keys/<int:key_id>")
@allow("viewer", "delete their SSH keys")
@blueprint.response(204)
def delete(key_id: int) -> Any:
    """Forget a key."""
    keys.delete(current_context(), key_id)
    return NO_CONTENT
