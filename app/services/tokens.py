"""API tokens: made once, shown once, kept as SHA-256; a token acts with its user's present role."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from app.services.changes import audit, changing
from app.services.context import Actor, Context
from app.services.errors import Forbidden, Invalid, NotFound, Unauthorized
from app.store.models import ApiToken, User

MARK = "muster_"
USE_NOTED_EVERY = dt.timedelta(minutes=5)
LONGEST_DAYS = 3650
_HOLDER = (
    select(ApiToken.id, ApiToken.expires_at, ApiToken.last_used_at, ApiToken.user_id, User.name, User.role, User.active)
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
        columns = ("id", "name", "prefix", "expires_at", "last_used_at", "created_at")
        return {name: getattr(self.row, name) for name in columns} | {"token": self.text}


def create(context: Context, name: str, days: int | None = None) -> NewToken:
    """A new token for the caller. days: how long it lives; None: until it is deleted."""
    user_id = context.actor.user_id
    if user_id is None:
        raise Forbidden("only users hold API tokens; sign in as one")
    if not 1 <= len(name.strip()) <= 100:
        raise Invalid("a token needs a name of 1 to 100 characters that says where it is used", field="name")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise Invalid(f"days={days}: must be 1 to {LONGEST_DAYS}", field="days")
    text = MARK + secrets.token_urlsafe(32)
    now = context.clock()
    row = ApiToken(
        user_id=user_id,
        name=name.strip(),
        prefix=text[: len(MARK) + 6],
        token_hash=_hash(text),
        expires_at=now + dt.timedelta(days=days) if days else None,
        created_at=now,
    )
    with changing(context) as session:
        session.add(row)
        session.flush()
        audit(session, context, "create", "token", row.id, name=row.name, prefix=row.prefix)
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
    return Actor(row.name, row.role, row.user_id)


def list_own(context: Context) -> list[ApiToken]:
    """The caller's tokens, without their text."""
    with context.store.read() as session:
        statement = select(ApiToken).where(ApiToken.user_id == context.actor.user_id).order_by(ApiToken.id)
        return list(session.scalars(statement))


def delete(context: Context, token_id: int) -> None:
    """End a token: one's own, or anybody's for an administrator."""
    with changing(context) as session:
        row = session.get(ApiToken, token_id)
        mine = row is not None and row.user_id == context.actor.user_id
        if row is None or (not mine and context.actor.role not in ("admin", "system")):
            raise NotFound(f"token {token_id} does not exist among yours")
        audit(session, context, "delete", "token", row.id, name=row.name, prefix=row.prefix)
        session.delete(row)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
