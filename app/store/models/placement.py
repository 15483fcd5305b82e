"""Where machines belong: zones (places), pools (who may draw from them) and tags (what they are)."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Table, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, PrimaryKey


class Zone(Base):
    """A physical place that fails as one: a room, a row, a power feed."""

    __tablename__ = "zone"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(Text, default="")


class Pool(Base):
    """A named set of machines that people draw from."""

    __tablename__ = "pool"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(Text, default="")


class Tag(Base):
    """A label on machines."""

    __tablename__ = "tag"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    comment: Mapped[str] = mapped_column(Text, default="")


machine_tag = Table(
    "machine_tag",
    Base.metadata,
    Column("machine_id", ForeignKey("machine.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True, index=True),
)
