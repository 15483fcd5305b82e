"""Web sessions: who is signed in with a browser, since when and from where; any of them can be ended.

The cookie holds a secret of which only the SHA-256 is kept here, and a stamp that dies with a changed password, role or
account, so those end a session at once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets

from sqlalchemy import bindparam, delete, select, update

from app.services import versions
from app.services.changes import audit, changing
from app.services.context import Actor, Context
from app.services.errors import NotFound, Unauthorized
from app.services.users import stamp
from app.store.models import User, WebSession
from app.store.prepared import Prepared
from app.store.queries.page import page

LIFE = dt.timedelta(hours=12)
SEEN_NOTED_EVERY = dt.timedelta(minutes=1)
MOST_OF_A_USER = 50
PRUNED_AT_ONCE = 100
LONGEST_AGENT = 200
_HOLDER = Prepared(
    select(
        WebSession.id,
        WebSession.seen_at,
        WebSession.expires_at,
        User.id.label("user_id"),
        User.name,
        User.role,
        User.active,
        User.password_hash,
    )
    .join(User, User.id == WebSession.user_id)
    .where(WebSession.secret_hash == bindparam("secret_hash"))
)


def begin(context: Context, user: User, address: str, agent: str) -> str:
    """A new session of the user; what its cookie must hold."""
    secret = secrets.token_urlsafe(32)
    now = context.clock()
    with context.store.write() as session:
        own = select(WebSession.id).where(WebSession.user_id == user.id)
        bound = session.scalar(own.order_by(WebSession.id.desc()).offset(MOST_OF_A_USER - 1).limit(1))
        if bound is not None:
            session.execute(delete(WebSession).where(WebSession.user_id == user.id, WebSession.id <= bound))
        old = select(WebSession.id).where(WebSession.expires_at <= now).limit(PRUNED_AT_ONCE)
        session.execute(delete(WebSession).where(WebSession.id.in_(old.with_for_update(skip_locked=True))))
        session.add(
            WebSession(
                user_id=user.id,
                secret_hash=_hash(secret),
                address=address,
                agent=_printable(agent),
                created_at=now,
                seen_at=now,
                expires_at=now + LIFE,
            )
        )
    return secret


def authenticate(context: Context, secret: str, session_stamp: str) -> Actor:
    """The caller of a web session. Unauthorized when it has ended, or the account has changed since it began."""
    now = context.clock()
    row = context.store.row(_HOLDER, secret_hash=_hash(secret))
    if row is None or not row.active or row.expires_at <= now:
        raise Unauthorized("this session has ended; sign in again")
    user = User(id=row.user_id, role=row.role, active=row.active, password_hash=row.password_hash)
    if not secrets.compare_digest(stamp(user), session_stamp):
        raise Unauthorized("this session has ended, because the account has changed; sign in again")
    if now - row.seen_at > SEEN_NOTED_EVERY:
        with context.store.write() as session:
            session.execute(update(WebSession).where(WebSession.id == row.id).values(seen_at=now))
    return Actor(row.name, row.role, row.user_id)


def end(context: Context, secret: str) -> None:
    """End the session that this cookie's secret belongs to; nothing when it has ended."""
    with context.store.write() as session:
        session.execute(delete(WebSession).where(WebSession.secret_hash == _hash(secret)))


def find(context: Context, user_id: int | None = None, after: int = 0, limit: int = 100) -> list[WebSession]:
    """A page of the caller's live sessions, or (for an administrator) of another user's."""
    user_id = context.actor.user_id if user_id is None else user_id
    if user_id != context.actor.user_id:
        context.require("admin", "see other people's sessions")
    live = select(WebSession).where(WebSession.user_id == user_id, WebSession.expires_at > context.clock())
    with context.store.read() as session:
        return list(session.scalars(page(live, WebSession.id, after, limit)))


def delete_one(context: Context, session_id: int) -> None:
    """End a session: one's own, or anybody's for an administrator."""
    with changing(context) as session:
        row = session.get(WebSession, session_id, with_for_update=True)
        mine = row is not None and row.user_id == context.actor.user_id
        if row is None or (not mine and context.actor.role not in ("admin", "system")):
            raise NotFound(f"session {session_id} does not exist among yours; list them", field="session_id")
        versions.check(context, row, f"session {session_id}")
        audit(session, context, "end", "session", row.id, user_id=row.user_id)
        session.delete(row)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _printable(agent: str) -> str:
    """A browser's name for itself, cut, without characters that a database or a terminal would mind."""
    return "".join(letter for letter in agent[:LONGEST_AGENT] if letter.isprintable())
