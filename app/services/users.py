"""People: passwords (argon2id), roles, and who is signing in.

`authenticate` takes the same time for a name that does not exist as for a wrong password.  A user's `stamp` goes into
web sessions: a changed password, a changed role or a deactivated account ends them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from contextlib import suppress
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services import logins, versions
from app.services.changes import audit, changing
from app.services.context import ROLES, Actor, Context
from app.services.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from app.store.models import ApiToken, Machine, User
from app.store.queries.page import page

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
SHORTEST, LONGEST = 10, 200


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobody() -> str:
    """A hash that no password fits, to spend the same time on names that do not exist."""
    return _hasher().hash(secrets.token_urlsafe(32))


def hash_password(password: str) -> str:
    """The password as it is kept. Invalid when it is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(
            f"the password has {len(password)} characters; it must have {SHORTEST} to {LONGEST}",
            field="password",
            rule=f"{SHORTEST} <= length <= {LONGEST}",
            remedy="choose a longer one; several words are fine",
        )
    return _hasher().hash(password)


def authenticate(context: Context, name: str, password: str) -> User:
    """The user whose name and password these are. Unauthorized says the same whatever was wrong."""
    with context.store.read() as session:
        user = session.scalar(select(User).where(User.name == name))
    kept = user.password_hash if user is not None and user.password_hash else _nobody()
    right = False
    with suppress(VerifyMismatchError, VerificationError, InvalidHashError):
        right = _hasher().verify(kept, password[:LONGEST])
    if user is None or not right or not user.active or not user.password_hash:
        raise Unauthorized("the name or the password is wrong", remedy="try again, or ask an administrator to reset it")
    if _hasher().check_needs_rehash(user.password_hash):
        with context.store.write() as session:
            row = session.get_one(User, user.id)
            row.password_hash = _hasher().hash(password)
        return row
    return user


def stamp(user: User) -> str:
    """What a session of this user must carry to stay valid."""
    return hashlib.sha256(f"{user.id}\n{user.role}\n{user.active}\n{user.password_hash}".encode()).hexdigest()[:32]


def actor(user: User) -> Actor:
    """The user as a caller."""
    return Actor(user.name, user.role, user.id)


def find(
    context: Context,
    *,
    role: str | None = None,
    active: bool | None = None,
    name: str | None = None,
    text: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[User]:
    """A page of users in id order. text: part of the name."""
    context.require("admin", "list users")
    statement = select(User)
    if role is not None:
        statement = statement.where(User.role == role)
    if active is not None:
        statement = statement.where(User.active.is_(active))
    if name is not None:
        statement = statement.where(User.name == name)
    if text:
        statement = statement.where(User.name.contains(text.lower(), autoescape=True))
    with context.store.read() as session:
        return list(session.scalars(page(statement, User.id, after, limit)))


def get(context: Context, user_id: int) -> User:
    """One user; oneself, or anyone for an administrator."""
    if context.actor.user_id != user_id:
        context.require("admin", "see other users")
    with context.store.read() as session:
        return _one(session, user_id)


def names(context: Context) -> dict[int, str]:
    """Names by id, for pages that show who owns what."""
    context.require("viewer", "see who owns what")
    with context.store.read() as session:
        return {row.id: row.name for row in session.execute(select(User.id, User.name))}


def create(context: Context, name: str, password: str | None, role: str = "operator") -> User:
    """A new user. Without a password only API tokens sign in."""
    context.require("admin", "create users")
    _check_role(role)
    if not NAME.fullmatch(name):
        raise Invalid(
            f"user name {name!r}: must be 1 to 63 characters of a-z, 0-9, . _ @ - and begin with a letter or digit",
            field="name",
            rule=NAME.pattern,
        )
    password_hash = hash_password(password) if password is not None else None
    user = User(name=name, password_hash=password_hash, role=role, created_at=context.clock())
    try:
        with changing(context) as session:
            session.add(user)
            session.flush()
            audit(session, context, "create", "user", user.id, name=name, role=role)
    except IntegrityError as error:
        raise Conflict(f"a user named {name!r} exists already; choose another name", field="name") from error
    return user


def update(context: Context, user_id: int, *, role: str | None = None, active: bool | None = None) -> User:
    """Change a user's role, or close or reopen the account. The last active administrator cannot be lost."""
    context.require("admin", "change users")
    if role is not None:
        _check_role(role)
    with changing(context) as session:
        user = _held(session, user_id)
        versions.check(context, user, f"user {user.name}")
        keeps = (role or user.role) == "admin" and (user.active if active is None else active)
        if not keeps:
            _refuse_last_admin(session, user)
        user.role = role or user.role
        user.active = user.active if active is None else active
        audit(session, context, "change", "user", user.id, name=user.name, role=user.role, active=user.active)
    return user


def set_password(
    context: Context, user_id: int, password: str, current: str | None = None, address: str = "local"
) -> User:
    """A new password. For oneself the current one is asked for; an administrator may set anybody's.

    address: where the request came from; guessing the current password is slowed down as signing in is.
    """
    own = context.actor.user_id == user_id
    if not own:
        context.require("admin", "set other people's passwords")
    with context.store.read() as session:
        user = _one(session, user_id)
    if own and user.password_hash:
        try:
            with logins.attempt(context, user.name, address):
                authenticate(context, user.name, current or "")
        except Unauthorized:
            raise Forbidden(
                "the current password is wrong", field="current", remedy="give the password in use"
            ) from None
    hashed = hash_password(password)
    with changing(context) as session:
        user = _held(session, user_id)
        versions.check(context, user, f"user {user.name}")
        user.password_hash = hashed
        audit(session, context, "change-password", "user", user.id, name=user.name)
    return user


def delete(context: Context, user_id: int) -> None:
    """Remove a user who owns no machine; the audit keeps the name."""
    context.require("admin", "delete users")
    with changing(context) as session:
        user = _held(session, user_id)
        versions.check(context, user, f"user {user.name}")
        _refuse_last_admin(session, user)
        owned = session.scalars(select(Machine.hostname).where(Machine.owner_id == user_id).limit(5)).all()
        if owned:
            raise Conflict(
                f"user {user.name} owns {', '.join(owned)}; release these machines first, or deactivate the account"
            )
        for token in session.scalars(select(ApiToken).where(ApiToken.user_id == user_id)):
            session.delete(token)
        session.flush()
        audit(session, context, "delete", "user", user.id, name=user.name)
        session.delete(user)


def by_name(context: Context, name: str) -> User:
    """The user of that name, for the local administrator's commands."""
    context.require("admin", "see users")
    with context.store.read() as session:
        user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise NotFound(f"user {name!r} does not exist")
    return user


def _one(session: Session, user_id: int) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound(f"user {user_id} does not exist; list the users", field="user_id")
    return user


def _held(session: Session, user_id: int) -> User:
    """The user, whom nobody else changes until the transaction ends."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise NotFound(f"user {user_id} does not exist; list the users", field="user_id")
    return user


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise Invalid(f"role {role!r}: must be one of {', '.join(ROLES)}", field="role", rule=f"one of {ROLES}")


def _refuse_last_admin(session: Session, user: User) -> None:
    others = select(func.count()).select_from(User).where(User.role == "admin", User.active, User.id != user.id)
    if user.role == "admin" and user.active and not session.scalar(others):
        raise Conflict(f"{user.name} is the last active administrator; make another one first")
