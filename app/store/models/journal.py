"""What happened: change events (who changed which desired state, the audit) and events (what a machine or rack did)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, CreatedAt, PrimaryKey


class ChangeEvent(Base):
    """Who changed which desired state, written in the same transaction as the change. request_id: in which request."""

    __tablename__ = "change_event"

    id: Mapped[PrimaryKey]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    actor: Mapped[str]
    verb: Mapped[str]
    thing: Mapped[str]
    thing_id: Mapped[int | None]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    request_id: Mapped[str | None] = mapped_column(index=True)
    at: Mapped[CreatedAt] = mapped_column(index=True)


class Event(Base):
    """Something that happened to a machine or a rack. level: debug, info, warning, error. kind: a short fixed name.

    id is the cursor that live pages and `muster machine watch` follow.  request_id: what asked for the change that this
    came of; several ids, a space apart, where changes went together.
    """

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_machine_id_id", "machine_id", "id"),)

    id: Mapped[PrimaryKey]
    machine_id: Mapped[int | None] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"))
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    level: Mapped[str] = mapped_column(default="info")
    kind: Mapped[str]
    message: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    request_id: Mapped[str | None]
    at: Mapped[CreatedAt] = mapped_column(index=True)
