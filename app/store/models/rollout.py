"""A change on its way to many racks: which racks, in which wave, and how it went on each."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, CreatedAt, PrimaryKey


class Rollout(Base):
    """One change that many racks are to take. status: running, halted, done, superseded; at most one is running or halted.

    wave: the last one that has begun, -1 before the waves are made; begun_at: when the first rack was offered something.
    cause: change, or upgrade (Muster itself renders something else).  changes: ids of the change events behind it.
    stopped_rack_id, reason: where and why it was halted.
    """

    __tablename__ = "rollout"
    __table_args__ = (Index("ix_rollout_status", "status"),)

    id: Mapped[PrimaryKey]
    status: Mapped[str] = mapped_column(default="running")
    wave: Mapped[int] = mapped_column(default=-1)
    wave_at: Mapped[dt.datetime | None]
    cause: Mapped[str]
    actor: Mapped[str]
    changes: Mapped[list[Any]] = mapped_column(default=list)
    stopped_rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="SET NULL"), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    begun_at: Mapped[dt.datetime | None]
    ended_at: Mapped[dt.datetime | None]
    created_at: Mapped[CreatedAt]


class RolloutRack(Base):
    """One rack of a rollout. status: waiting, offered, kept, unchanged (nothing differs there), refused, passed (by a person).

    first: the change is about this rack's own VLAN; waited: it waited in a rollout that this one has superseded.
    services: whose files the rollout changes there; looked: whether that is known.  red: services whose probe was red
    before.  at: when it came to this status.
    """

    __tablename__ = "rollout_rack"
    __table_args__ = (Index("ix_rollout_rack_rack_id", "rack_id"),)

    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.id", ondelete="CASCADE"), primary_key=True)
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), primary_key=True)
    wave: Mapped[int | None]
    canary: Mapped[bool] = mapped_column(default=False)
    first: Mapped[bool] = mapped_column(default=False)
    waited: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(default="waiting")
    looked: Mapped[bool] = mapped_column(default=False)
    services: Mapped[list[Any]] = mapped_column(default=list)
    red: Mapped[list[Any]] = mapped_column(default=list)
    offer_number: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[CreatedAt]
