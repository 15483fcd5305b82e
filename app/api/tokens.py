"""API tokens of the caller."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.account import NewTokenSchema, ShownTokenSchema, TokenPage, TokenQuery, TokenSchema
from app.identity import current_context
from app.services import tokens

blueprint = Resource("tokens", "API tokens of the caller")


@blueprint.get("/tokens")
@allow("viewer", "list their tokens")
@blueprint.arguments(TokenQuery, location="query")
@blueprint.response(200, TokenPage)
def index(query: dict[str, Any]) -> Any:
    """List one's tokens (an administrator: also another user's), without their text."""
    return page(tokens.find(current_context(), **query), query["limit"])


@blueprint.post("/tokens")
@allow("viewer", "create tokens")
@blueprint.arguments(NewTokenSchema)
@blueprint.response(201, ShownTokenSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a token. It is shown only now."""
    return tokens.create(current_context(), **body).shown()


@blueprint.get("/tokens/<int:token_id>")
@allow("viewer", "see their tokens")
@blueprint.shows(TokenSchema)
def show(token_id: int) -> Any:
    """See a token, without its text."""
    return tokens.get(current_context(), token_id)


@blueprint.delete("/tokens/<int:token_id>")
@allow("viewer", "delete their tokens")
@blueprint.response(204)
def delete(token_id: int) -> Any:
    """End a token."""
    tokens.delete(current_context(), token_id)
    return NO_CONTENT
