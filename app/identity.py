"""Who is calling, for the edges that people and programs use: a bearer token or a web session.

* `current_context()` is the application's context acting as the caller; `Unauthorized` when nobody known is calling.
  Call it first in every view that is not open to all; it is cached for the request.
* A request with an `Authorization: Bearer` header is judged by its token alone; otherwise the session cookie counts.
* A request that changes something (not GET, HEAD, OPTIONS) and uses the session must carry the session's CSRF token in
  the header `X-CSRF-Token` or the form field `csrf_token` (`csrf_token()` gives it to pages); a bearer needs none.
* `sign_in(user)` begins a session (new CSRF token, everything of an earlier session forgotten), `sign_out()` ends it.
  The cookie is signed, HttpOnly and SameSite=Lax; it holds the user's id and a stamp that dies with a changed password.
* `authenticate(name, password)` is the way to check a password at an edge: it also slows guessing down, counting
  failures per name and client address in this process.
"""

from __future__ import annotations

import hmac
import secrets
import time
from threading import Lock

from flask import Flask, current_app, g, request, session

from app import metrics
from app.services import tokens, users
from app.services.context import Context
from app.services.errors import Forbidden, ServiceError, Unauthorized
from app.store.models import User

EXTENSION = "muster"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FAILURES, WITHIN_SECONDS, NAMES_KEPT = 10, 300.0, 10_000


class TooMany(ServiceError):
    """More requests of a kind than is good for anybody."""

    status = 429
    title = "Too many requests"


class Identity:
    """What this module keeps on the application: the context, and recent failures to sign in."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._failures: dict[tuple[str, str], list[float]] = {}
        self._lock = Lock()

    def check_guessing(self, name: str, address: str) -> None:
        """TooMany when this name has failed too often from this address."""
        with self._lock:
            recent = [at for at in self._failures.get((name, address), []) if time.monotonic() - at < WITHIN_SECONDS]
            if len(recent) >= FAILURES:
                metrics.LOGIN_FAILURES.labels("throttled").inc()
                raise TooMany(
                    f"{FAILURES} wrong passwords for {name!r} in {WITHIN_SECONDS / 60:.0f} minutes; wait and try again"
                )

    def note_failure(self, name: str, address: str) -> None:
        """Remember one failure."""
        metrics.LOGIN_FAILURES.labels("wrong").inc()
        with self._lock:
            if len(self._failures) >= NAMES_KEPT:
                self._failures.clear()
            recent = self._failures.setdefault((name, address), [])
            recent.append(time.monotonic())
            del recent[:-FAILURES]

    def forget(self, name: str, address: str) -> None:
        """The right password was given."""
        with self._lock:
            self._failures.pop((name, address), None)


def attach(application: Flask, context: Context) -> None:
    """Give the application its context."""
    application.extensions[EXTENSION] = Identity(context)


def base_context() -> Context:
    """The application's context, acting as Muster itself; for edges that know their own callers."""
    return _identity().context.asked_by(g.get("request_id"))


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
        return context.acting_as(tokens.authenticate(context, text.strip()))
    user_id, stamp = session.get("user_id"), session.get("stamp")
    if not isinstance(user_id, int) or not isinstance(stamp, str):
        raise Unauthorized("nobody is signed in", remedy="send an API token as Authorization: Bearer, or sign in")
    try:
        actor = users.of_session(context, user_id, stamp)
    except Unauthorized:
        session.clear()
        raise
    if request.method not in SAFE_METHODS:
        check_csrf()
    return context.acting_as(actor)


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
    """The user of this name and password. Unauthorized, or TooMany after many failures from one address."""
    identity, address = _identity(), request.remote_addr or ""
    identity.check_guessing(name, address)
    try:
        user = users.authenticate(identity.context, name, password)
    except Unauthorized:
        identity.note_failure(name, address)
        raise
    identity.forget(name, address)
    return user


def sign_in(user: User) -> None:
    """Begin a session for the user."""
    session.clear()
    session.permanent = True
    session["user_id"] = user.id
    session["stamp"] = users.stamp(user)
    csrf_token()
    g.pop("muster_context", None)


def sign_out() -> None:
    """End the session."""
    session.clear()
    g.pop("muster_context", None)


def _identity() -> Identity:
    found: Identity = current_app.extensions[EXTENSION]
    return found
