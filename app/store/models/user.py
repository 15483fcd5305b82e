"""People, the keys they hold, how they are signed in, and what they have asked for once."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, CreatedAt, PrimaryKey


class User(Base):
    """A person or a program that signs in. role: admin, operator or viewer."""

    __tablename__ = "user"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    role: Mapped[str] = mapped_column(default="operator")
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[CreatedAt]
    ssh_keys: Mapped[list[SshKey]] = relationship(back_populates="user", cascade="all, delete-orphan")


class ApiToken(Base):
    """A bearer token of a user. Only its SHA-256 is kept; the prefix helps people to tell tokens apart.

    scope: read, operate or admin; the token may do what both its scope and its user's role allow.
    """

    __tablename__ = "api_token"

    id: Mapped[PrimaryKey]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    scope: Mapped[str] = mapped_column(default="admin", server_default="admin")
    expires_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]
    created_at: Mapped[CreatedAt]
    user: Mapped[User] = relationship()


class SshKey(Base):
    """A public key that is put on the machines its owner deploys."""

    __tablename__ = "ssh_key"
    __table_args__ = (UniqueConstraint("user_id", "fingerprint"),)

    id: Mapped[PrimaryKey]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    public_key: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str]
    comment: Mapped[str] = mapped_column(default="")
    created_at: Mapped[CreatedAt]
    user: Mapped[User] = relationship(back_populates="ssh_keys")


class WebSession(Base):
    """Somebody signed in with a browser. Only the SHA-256 of what the cookie holds is kept."""

    __tablename__ = "web_session"

    id: Mapped[PrimaryKey]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    secret_hash: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str]
    agent: Mapped[str]
    created_at: Mapped[CreatedAt]
    seen_at: Mapped[CreatedAt]
    expires_at: Mapped[dt.datetime] = mapped_column(index=True)


class LoginAttempts(Base):
    """How often signing in was tried lately: for a name (kept as a digest), an address, or both together."""

    __tablename__ = "login_attempts"

    subject: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    until: Mapped[dt.datetime] = mapped_column(index=True)


class IdempotencyKey(Base):
    """A request that was carried out once, with its answer (sealed: it may show a new secret), for whoever repeats it."""

    __tablename__ = "idempotency_key"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: Mapped[PrimaryKey]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    key: Mapped[str]
    fingerprint: Mapped[str]
    answer: Mapped[str] = mapped_column(Text)
    created_at: Mapped[dt.datetime] = mapped_column(index=True)
