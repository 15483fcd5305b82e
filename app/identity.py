"""Who is calling, for the edges that people and programs use: a bearer token or a web session.

* `current_context()` is the application's context acting as the caller; `Unauthorized` when nobody known is calling.
  Call it first in every view that is not open to all; it is cached for the request.
* A request with an `Authorization: Bearer` header is judged by its token alone; otherwise the session cookie counts.
* A request that changes something (not GET, HEAD, OPTIONS) and uses the session must carry the session's CSRF token in
  the header `X-CSRF-Token` or the form field `csrf_token` (`csrf_token()` gives it to pages); a bearer needs none.
* `sign_in(user)` begins a session (new CSRF token, everything of an earlier session forgotten), `sign_out()` ends it.
  The cookie is signed, HttpOnly and SameSite=Lax; it holds the session's secret and a stamp that dies with a changed
  password.  Sessions are rows (`app.services.sessions`): what is ended there is ended, whoever has the cookie.
* A token of scope `read` changes nothing, on any edge.
* `authenticate(name, password)` is the way to check a password at an edge: it also slows guessing down, for all
  processes together (`app.services.logins`).
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace

from flask import Flask, current_app, g, request, session

from app import metrics
from app.services import logins, sessions, tokens, users
from app.services.context import Context, Made
from app.services.errors import Forbidden, ServiceError, TooMany, Unauthorized
from app.store.models import User

EXTENSION = "muster"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Identity:
    """What this module keeps on the application: the context."""

    def __init__(self, context: Context) -> None:
        self.context = context


def attach(application: Flask, context: Context) -> None:
    """Give the application its context."""
    application.extensions[EXTENSION] = Identity(context)


def base_context() -> Context:
    """The application's context, acting as Muster itself; for edges that know their own callers."""
    context = _identity().context
    if "muster_made" not in g:
        g.muster_made, g.muster_asked_at = Made(), context.clock()
    return replace(context, request_id=g.get("request_id"), asked_at=g.muster_asked_at, made=g.muster_made)


def current_context() -> Context:
    """The context acting as the caller. Unauthorized, or Forbidden when a session's request lacks its CSRF token."""
    if "muster_context" not in g:
        g.muster_context = _find_caller()
    found: Context = g.muster_context
    return found


def _find_caller() -> Context:
    context = base_context()
    authorization = request.headers.get("Authorization", "")
    if authorization:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Unauthorized("the Authorization header must be 'Bearer <API token>'")
        actor = tokens.authenticate(context, text.strip())
        if actor.scope == "read" and request.method not in SAFE_METHODS:
            raise Forbidden(
                f"{actor.name} is calling with a token of scope read, which changes nothing",
                rule="scope >= operate",
                remedy="use a token of scope operate or admin",
            )
        return context.acting_as(actor)
    secret, stamp = session.get("secret"), session.get("stamp")
    if not isinstance(secret, str) or not isinstance(stamp, str):
        raise Unauthorized("nobody is signed in", remedy="send an API token as Authorization: Bearer, or sign in")
    try:
        actor = sessions.authenticate(context, secret, stamp)
    except Unauthorized:
        session.clear()
        raise
    if request.method not in SAFE_METHODS:
        check_csrf()
    return context.acting_as(actor)


def use_context(context: Context) -> None:
    """From here on this request's caller acts with `context`: the same caller, with more said about the request."""
    g.muster_context = context


def check_csrf() -> None:
    """Forbidden unless the request carries the session's CSRF token."""
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token") or ""
    kept = session.get("csrf") or ""
    if not kept or not hmac.compare_digest(given.encode(), kept.encode()):
        raise Forbidden(
            "the request lacks the CSRF token of this session",
            rule="X-CSRF-Token header or csrf_token form field",
            remedy="reload the page and try again",
        )


def csrf_token() -> str:
    """The session's CSRF token, made when there is none yet (also before sign-in, for the login form)."""
    if not session.get("csrf"):
        session["csrf"] = secrets.token_urlsafe(32)
    return str(session["csrf"])


def session_csrf_token() -> str | None:
    """The CSRF token of the session that is calling; None when a bearer token is."""
    return None if request.headers.get("Authorization") else csrf_token()


def authenticate(name: str, password: str) -> User:
    """The user of this name and password. Unauthorized, or TooMany after many failures."""
    context = base_context()
    try:
        with logins.attempt(context, name, request.remote_addr or ""):
            return users.authenticate(context, name, password)
    except ServiceError as refusal:
        metrics.LOGIN_FAILURES.labels("throttled" if isinstance(refusal, TooMany) else "wrong").inc()
        raise


def sign_in(user: User) -> None:
    """Begin a session for the user; the one that the browser had ends."""
    _end_session()
    session.clear()
    session.permanent = True
    agent = request.headers.get("User-Agent", "")
    session["secret"] = sessions.begin(base_context(), user, request.remote_addr or "", agent)
    session["stamp"] = users.stamp(user)
    csrf_token()
    g.pop("muster_context", None)


def sign_out() -> None:
    """End the session, for whoever has its cookie."""
    _end_session()
    session.clear()
    g.pop("muster_context", None)


def _end_session() -> None:
    secret = session.get("secret")
    if isinstance(secret, str):
        sessions.end(base_context(), secret)


def _identity() -> Identity:
    found: Identity = current_app.extensions[EXTENSION]
    return found
