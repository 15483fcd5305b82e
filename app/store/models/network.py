"""Fabrics, VLANs, subnets, ranges, addresses, domains: the network as it should be.

Addresses are stored as canonical text and as a sortable key (32 hexadecimal digits of the 128-bit value), so that both
databases compare and order them alike.  No address is given twice: `uq_ip_address_subnet_id_address` says so.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, CreatedAt, PrimaryKey


class Fabric(Base):
    """A set of VLANs that can reach each other at layer 2."""

    __tablename__ = "fabric"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)


class Vlan(Base):
    """A broadcast domain. vid 0 is the fabric's untagged VLAN."""

    __tablename__ = "vlan"
    __table_args__ = (
        UniqueConstraint("fabric_id", "vid"),
        CheckConstraint("vid >= 0 AND vid <= 4094", name="vid"),
        CheckConstraint("mtu >= 552 AND mtu <= 65535", name="mtu"),
    )

    id: Mapped[PrimaryKey]
    fabric_id: Mapped[int] = mapped_column(ForeignKey("fabric.id"), index=True)
    vid: Mapped[int] = mapped_column(default=0)
    name: Mapped[str] = mapped_column(default="untagged")
    mtu: Mapped[int] = mapped_column(default=1500)
    dhcp_on: Mapped[bool] = mapped_column(default=False)
    router_advertisements: Mapped[bool] = mapped_column(default=False)
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id"), index=True)
    fabric: Mapped[Fabric] = relationship()


class Domain(Base):
    """A DNS domain that Muster is authoritative for."""

    __tablename__ = "domain"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    ttl_seconds: Mapped[int] = mapped_column(default=30)


class Subnet(Base):
    """An IPv4 or IPv6 network on a VLAN. managed: Muster hands out what lies outside the ranges."""

    __tablename__ = "subnet"

    id: Mapped[PrimaryKey]
    cidr: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    vlan_id: Mapped[int] = mapped_column(ForeignKey("vlan.id"), index=True)
    domain_id: Mapped[int] = mapped_column(ForeignKey("domain.id"))
    gateway: Mapped[str | None]
    dns_servers: Mapped[list[Any]] = mapped_column(default=list)
    managed: Mapped[bool] = mapped_column(default=True)
    lease_seconds: Mapped[int] = mapped_column(default=600)
    vlan: Mapped[Vlan] = relationship()
    domain: Mapped[Domain] = relationship()


class IpRange(Base):
    """A range of a subnet. kind: dynamic (DHCP leases from it) or reserved (Muster keeps away)."""

    __tablename__ = "ip_range"
    __table_args__ = (CheckConstraint("kind IN ('dynamic', 'reserved')", name="kind"),)

    id: Mapped[PrimaryKey]
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    start: Mapped[str]
    end: Mapped[str]
    start_key: Mapped[str]
    end_key: Mapped[str]
    comment: Mapped[str] = mapped_column(default="")


class IpAddress(Base):
    """One address in use. kind: auto (given at deploy, freed at release), sticky, user_reserved, rack, bmc."""

    __tablename__ = "ip_address"
    __table_args__ = (UniqueConstraint("subnet_id", "address"),)

    id: Mapped[PrimaryKey]
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id"), index=True)
    address: Mapped[str]
    address_key: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(default="auto")
    interface_id: Mapped[int | None] = mapped_column(ForeignKey("interface.id", ondelete="CASCADE"), index=True)
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    hostname: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    subnet: Mapped[Subnet] = relationship()
