"""API tokens of the caller."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow
from app.api.schemas.account import NewTokenSchema, ShownTokenSchema, TokenPage
from app.identity import current_context
from app.services import tokens

blueprint = Resource("tokens", "API tokens of the caller")


@blueprint.get("/tokens")
@allow("viewer", "list their tokens")
@blueprint.response(200, TokenPage)
def index() -> Any:
    """List one's tokens, without their text."""
    return {"items": tokens.list_own(current_context()), "next": None}


@blueprint.post("/tokens")
@allow("viewer", "create tokens")
@blueprint.arguments(NewTokenSchema)
@blueprint.response(201, ShownTokenSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a token. It is shown only now."""
    return tokens.create(current_context(), **body).shown()


@blueprint.delete("/tokens/<int:token_id>")
@allow("viewer", "delete their tokens")
@blueprint.response(204)
def delete(token_id: int) -> Any:
    """End a token."""
    tokens.delete(current_context(), token_id)
    return NO_CONTENT
