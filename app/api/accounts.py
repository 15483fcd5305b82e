"""A token for a name and a password, for programs that have none yet."""

from __future__ import annotations

from typing import Any

from app import identity
from app.api.description import GUESSING
from app.api.frame import Resource, public
from app.api.schemas.account import LoginSchema, ShownTokenSchema
from app.services import tokens, users

blueprint = Resource("login", "Signing in with a password for a token")


@blueprint.post("/login")
@public
@blueprint.arguments(LoginSchema)
@blueprint.response(201, ShownTokenSchema)
@blueprint.doc(**GUESSING)
def login(body: dict[str, Any]) -> Any:
    """Make an API token with a name and a password. The token is shown only now."""
    user = identity.authenticate(body["name"], body["password"])
    context = identity.base_context().acting_as(users.actor(user))
    return tokens.create(context, body["token_name"], body["days"], body["scope"]).shown()
