"""What racks have seen on their networks: leases, neighbours, DHCP servers that are not ours. Observed, never desired."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, PrimaryKey


class Lease(Base):
    """An address that a rack's DHCP server says it has handed out. name: of its DNS record, if it has one."""

    __tablename__ = "lease"
    __table_args__ = (UniqueConstraint("rack_id", "address"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    address: Mapped[str]
    address_key: Mapped[str] = mapped_column(index=True)
    mac: Mapped[str | None] = mapped_column(index=True)
    duid: Mapped[str | None]
    hostname: Mapped[str | None]
    name: Mapped[str | None]
    started_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime] = mapped_column(index=True)


class Neighbour(Base):
    """An address that a rack has seen in use on one of its interfaces (ARP, neighbour discovery)."""

    __tablename__ = "neighbour"
    __table_args__ = (UniqueConstraint("rack_id", "interface", "address"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    interface: Mapped[str]
    subnet_id: Mapped[int | None] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    address: Mapped[str]
    address_key: Mapped[str] = mapped_column(index=True)
    mac: Mapped[str] = mapped_column(index=True)
    first_seen_at: Mapped[dt.datetime]
    seen_at: Mapped[dt.datetime] = mapped_column(index=True)


class ForeignDhcpServer(Base):
    """A DHCP server that is none of ours and has offered something on a network that a rack serves.

    server: its identifier (RFC 2132, section 9.7).  mac: where its frame came from, a relay agent's perhaps.
    """

    __tablename__ = "foreign_dhcp_server"
    __table_args__ = (UniqueConstraint("rack_id", "interface", "server"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    interface: Mapped[str]
    vlan_id: Mapped[int | None] = mapped_column(ForeignKey("vlan.id", ondelete="CASCADE"), index=True)
    server: Mapped[str]
    mac: Mapped[str]
    offered: Mapped[str]
    first_seen_at: Mapped[dt.datetime]
    seen_at: Mapped[dt.datetime] = mapped_column(index=True)
