"""Users: administrators see and change all of them, everybody oneself."""

from __future__ import annotations

from typing import Any

from flask import request

from app.api.description import GUESSING
from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.account import NewUserSchema, PasswordSchema, UserChangeSchema, UserPage, UserQuery, UserSchema
from app.identity import current_context
from app.services import users

blueprint = Resource("users", "People and programs that sign in")


@blueprint.get("/users")
@allow("admin", "list users")
@blueprint.arguments(UserQuery, location="query")
@blueprint.response(200, UserPage)
def index(query: dict[str, Any]) -> Any:
    """List users."""
    return page(users.find(current_context(), **query), query["limit"])


@blueprint.post("/users")
@allow("admin", "create users")
@blueprint.arguments(NewUserSchema)
@blueprint.response(201, UserSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a user."""
    return users.create(current_context(), **body)


@blueprint.get("/users/<int:user_id>")
@allow("viewer", "see users")
@blueprint.shows(UserSchema)
def show(user_id: int) -> Any:
    """See a user: oneself, or anybody for an administrator."""
    return users.get(current_context(), user_id)


@blueprint.patch("/users/<int:user_id>")
@allow("admin", "change users")
@blueprint.arguments(UserChangeSchema)
@blueprint.response(200, UserSchema)
def change(body: dict[str, Any], user_id: int) -> Any:
    """Change a role, close or reopen an account."""
    return users.update(current_context(), user_id, **body)


@blueprint.put("/users/<int:user_id>/password")
@allow("viewer", "change passwords")
@blueprint.arguments(PasswordSchema)
@blueprint.response(204)
@blueprint.doc(**GUESSING)
def change_password(body: dict[str, Any], user_id: int) -> Any:
    """Set a password: one's own with the current one, or anybody's as an administrator."""
    users.set_password(current_context(), user_id, **body, address=request.remote_addr or "")
    return NO_CONTENT


@blueprint.delete("/users/<int:user_id>")
@allow("admin", "delete users")
@blueprint.response(204)
def delete(user_id: int) -> Any:
    """Delete a user who owns no machine."""
    users.delete(current_context(), user_id)
    return NO_CONTENT
