"""Devices: what is on the network and has addresses and names from us, but is not ours to install."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, CreatedAt, PrimaryKey
from app.store.models.domain import Domain
from app.store.models.placement import Zone
from app.store.models.user import User

if TYPE_CHECKING:
    from app.store.models.machine import Interface, Machine


class Device(Base):
    """A switch, a PDU, a storage box, somebody's workstation. parent_id: the machine that it is part of, if any."""

    __tablename__ = "device"

    id: Mapped[PrimaryKey]
    hostname: Mapped[str] = mapped_column(unique=True)
    domain_id: Mapped[int] = mapped_column(ForeignKey("domain.id"), index=True)
    description: Mapped[str] = mapped_column(Text, default="")
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"), index=True)
    zone_id: Mapped[int] = mapped_column(ForeignKey("zone.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[CreatedAt]
    domain: Mapped[Domain] = relationship()
    zone: Mapped[Zone] = relationship()
    owner: Mapped[User | None] = relationship()
    parent: Mapped[Machine | None] = relationship()
    interfaces: Mapped[list[Interface]] = relationship(
        back_populates="device", cascade="all, delete-orphan", order_by="Interface.id"
    )

    @property
    def fqdn(self) -> str:
        """The whole name, without a trailing dot."""
        return f"{self.hostname}.{self.domain.name}"
