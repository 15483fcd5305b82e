"""API tokens: made once, shown once, kept as SHA-256; a token acts with its user's present role, within its scope.

Scopes: `read` changes nothing, `operate` is at most an operator, `admin` all that the user may.  A token makes no token
that may more or lives longer than itself.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from app.services import versions
from app.services.changes import audit, changing
from app.services.context import ROLES, Actor, Context
from app.services.errors import Forbidden, Invalid, NotFound, Unauthorized
from app.store.models import ApiToken, User
from app.store.prepared import Prepared
from app.store.queries.page import page

MARK = "muster_"
SCOPES = {"read": "viewer", "operate": "operator", "admin": "admin"}
"""The role that a token has at most."""
USE_NOTED_EVERY = dt.timedelta(minutes=1)
LONGEST_DAYS = 3650
_HOLDER = Prepared(
    select(
        ApiToken.id,
        ApiToken.scope,
        ApiToken.expires_at,
        ApiToken.last_used_at,
        ApiToken.user_id,
        User.name,
        User.role,
        User.active,
    )
    .join(User, User.id == ApiToken.user_id)
    .where(ApiToken.token_hash == bindparam("token_hash"))
)


@dataclass(frozen=True)
class NewToken:
    """A token with the text that is shown only now."""

    row: ApiToken
    text: str

    def shown(self) -> dict[str, Any]:
        """What the caller sees, once."""
        columns = ("id", "user_id", "name", "prefix", "scope", "expires_at", "last_used_at", "created_at")
        return {name: getattr(self.row, name) for name in columns} | {"token": self.text}


def create(context: Context, name: str, days: int | None = None, scope: str | None = None) -> NewToken:
    """A new token for the caller. days: how long it lives; None: until it is deleted, or as long as the calling token.

    scope: None is that of the caller.  Forbidden when it would be more than the caller's, in reach or in time.
    """
    user_id = context.actor.user_id
    if user_id is None:
        raise Forbidden("only users hold API tokens; sign in as one", rule="a user's token")
    if not 1 <= len(name.strip()) <= 100:
        raise Invalid("a token needs a name of 1 to 100 characters that says where it is used", field="name")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise Invalid(f"days={days}: must be 1 to {LONGEST_DAYS}", field="days")
    scope = context.actor.scope if scope is None else scope
    if scope not in SCOPES:
        raise Invalid(f"scope {scope!r}: there are {', '.join(SCOPES)}", field="scope", rule=f"one of {[*SCOPES]}")
    text = MARK + secrets.token_urlsafe(32)
    now = context.clock()
    expires_at = now + dt.timedelta(days=days) if days else context.actor.expires_at
    _refuse_more(context, scope, expires_at)
    row = ApiToken(
        user_id=user_id,
        name=name.strip(),
        prefix=text[: len(MARK) + 6],
        token_hash=_hash(text),
        scope=scope,
        expires_at=expires_at,
        created_at=now,
    )
    with changing(context) as session:
        session.add(row)
        session.flush()
        audit(session, context, "create", "token", row.id, name=row.name, prefix=row.prefix, scope=scope)
    return NewToken(row, text)


def authenticate(context: Context, text: str) -> Actor:
    """The caller that this token stands for. Unauthorized for an unknown, expired or closed one."""
    now = context.clock()
    row = context.store.row(_HOLDER, token_hash=_hash(text))
    if row is None or not row.active or (row.expires_at is not None and row.expires_at <= now):
        raise Unauthorized("the API token is unknown, expired or its account is closed", remedy="make a new one")
    if row.last_used_at is None or now - row.last_used_at > USE_NOTED_EVERY:
        with context.store.write() as session:
            session.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_at=now))
    role = min(row.role, SCOPES[row.scope], key=ROLES.index)
    return Actor(row.name, role, row.user_id, row.scope, row.expires_at)


def find(
    context: Context,
    user_id: int | None = None,
    *,
    scope: str | None = None,
    name: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[ApiToken]:
    """A page of the caller's tokens, or (for an administrator) of another user's, without their text."""
    user_id = context.actor.user_id if user_id is None else user_id
    if user_id != context.actor.user_id:
        context.require("admin", "see other people's tokens")
    statement = select(ApiToken).where(ApiToken.user_id == user_id)
    if scope is not None:
        statement = statement.where(ApiToken.scope == scope)
    if name is not None:
        statement = statement.where(ApiToken.name == name)
    with context.store.read() as session:
        return list(session.scalars(page(statement, ApiToken.id, after, limit)))


def get(context: Context, token_id: int) -> ApiToken:
    """One of the caller's tokens, or anybody's for an administrator, without its text."""
    with context.store.read() as session:
        return _visible(context, session.get(ApiToken, token_id), token_id)


def delete(context: Context, token_id: int) -> None:
    """End a token: one's own, or anybody's for an administrator."""
    with changing(context) as session:
        row = _visible(context, session.get(ApiToken, token_id, with_for_update=True), token_id)
        versions.check(context, row, f"token {row.name}")
        audit(session, context, "delete", "token", row.id, name=row.name, prefix=row.prefix)
        session.delete(row)


def _visible(context: Context, row: ApiToken | None, token_id: int) -> ApiToken:
    """The row, if it is the caller's or the caller an administrator. NotFound otherwise."""
    mine = row is not None and row.user_id == context.actor.user_id
    if row is None or (not mine and context.actor.role not in ("admin", "system")):
        raise NotFound(f"token {token_id} does not exist among yours; list them", field="token_id")
    return row


def _refuse_more(context: Context, scope: str, expires_at: dt.datetime | None) -> None:
    """Forbidden when a token would reach further or live longer than the token that asks for it."""
    own = context.actor
    if ROLES.index(SCOPES[scope]) > ROLES.index(SCOPES[own.scope]):
        raise Forbidden(
            f"a token of scope {own.scope} makes none of scope {scope}; sign in with a password for that",
            rule="a token makes none that may more than itself",
        )
    if own.expires_at is not None and (expires_at is None or expires_at > own.expires_at):
        raise Forbidden(
            f"the calling token ends at {own.expires_at.isoformat(timespec='seconds')}, and the new one would live longer;"
            " ask for fewer days, or sign in with a password",
            rule="a token makes none that lives longer than itself",
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
