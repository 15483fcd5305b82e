"""Signing in: with a session for pages, or with a token for programs (`accounts.login`); the sessions there are."""

from __future__ import annotations

from typing import Any

from app import identity
from app.api.description import GUESSING
from app.api.frame import NO_CONTENT, Resource, allow, page, public
from app.api.schemas.account import CredentialsSchema, OwnQuery, SessionSchema, WebSessionPage
from app.identity import current_context
from app.services import sessions, users

blueprint = Resource("session", "Signing in and out")


@blueprint.post("/session")
@public
@blueprint.arguments(CredentialsSchema)
@blueprint.response(201, SessionSchema)
@blueprint.doc(**GUESSING)
def begin(body: dict[str, Any]) -> Any:
    """Sign in: answers a cookie and the CSRF token that changes through the session need."""
    user = identity.authenticate(body["name"], body["password"])
    identity.sign_in(user)
    return {"user": user, "csrf_token": identity.csrf_token()}


@blueprint.get("/session")
@allow("viewer", "see who is signed in")
@blueprint.shows(SessionSchema)
def show() -> Any:
    """Who is calling. csrf_token is null for callers with a token: they need none."""
    context = current_context()
    user = users.get(context, context.actor.user_id or 0)
    return {"user": user, "csrf_token": identity.session_csrf_token()}


@blueprint.delete("/session")
@allow("viewer", "sign out")
@blueprint.response(204)
def end() -> Any:
    """Sign out."""
    identity.sign_out()
    return NO_CONTENT


@blueprint.get("/sessions")
@allow("viewer", "list their sessions")
@blueprint.arguments(OwnQuery, location="query")
@blueprint.response(200, WebSessionPage)
def index(query: dict[str, Any]) -> Any:
    """One's live web sessions, or another user's for an administrator: since when, from where."""
    return page(sessions.find(current_context(), **query), query["limit"])


@blueprint.delete("/sessions/<int:session_id>")
@allow("viewer", "end their sessions")
@blueprint.response(204)
def delete(session_id: int) -> Any:
    """End a session, wherever its browser is."""
    sessions.delete_one(current_context(), session_id)
    return NO_CONTENT
