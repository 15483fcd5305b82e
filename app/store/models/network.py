"""Fabrics, VLANs, spaces, subnets, ranges, routes, addresses: the network as it should be.

Addresses are stored as canonical text and as a sortable key (32 hexadecimal digits of the 128-bit value), so that both
databases compare and order them alike.  No address is given twice: `uq_ip_address_subnet_id_address` says so.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, CreatedAt, PrimaryKey
from app.store.models.domain import Domain


class Fabric(Base):
    """A set of VLANs that can reach each other at layer 2. found: by a rack's or a machine's report, not by a person."""

    __tablename__ = "fabric"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    found: Mapped[bool] = mapped_column(default=False, server_default=false())


class Space(Base):
    """A set of VLANs whose subnets may reach each other at layer 3; subnets inherit it from their VLAN."""

    __tablename__ = "space"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(Text, default="")


class Vlan(Base):
    """A broadcast domain. vid 0 is the fabric's untagged VLAN, which is never deleted while the fabric is there.

    rack_id, secondary_rack_id: who serves it.  relay_vlan_id: DHCP comes through a relay agent to that VLAN's racks.
    """

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
    secondary_rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id"), index=True)
    relay_vlan_id: Mapped[int | None] = mapped_column(ForeignKey("vlan.id"), index=True)
    space_id: Mapped[int | None] = mapped_column(ForeignKey("space.id"), index=True)
    fabric: Mapped[Fabric] = relationship()
    space: Mapped[Space | None] = relationship()


class Subnet(Base):
    """An IPv4 or IPv6 network on a VLAN.

    managed: Muster hands out what lies outside the ranges; else only what lies inside reserved ranges, and DHCP never
    leases there.  boot_lease_seconds: for clients that are booting.  reverse_dns: off, on, or rfc2317 (networks smaller
    than a /24 get a zone of their own, RFC 2317).  allow_dns, allow_proxy: whether its clients may use the racks' DNS
    recursion and proxy.  disabled_boot_architectures: names of `renderers.dhcp.boot`.  unknown_clients:
    serve or ignore, for MACs that Muster has never heard of.  slaac: clients of an IPv6 /64 may make up their own
    addresses from router advertisements.
    """

    __tablename__ = "subnet"
    __table_args__ = (
        CheckConstraint("reverse_dns IN ('off', 'on', 'rfc2317')", name="reverse_dns"),
        CheckConstraint("unknown_clients IN ('serve', 'ignore')", name="unknown_clients"),
    )

    id: Mapped[PrimaryKey]
    cidr: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    vlan_id: Mapped[int] = mapped_column(ForeignKey("vlan.id"), index=True)
    domain_id: Mapped[int] = mapped_column(ForeignKey("domain.id"))
    gateway: Mapped[str | None]
    dns_servers: Mapped[list[Any]] = mapped_column(default=list)
    managed: Mapped[bool] = mapped_column(default=True)
    lease_seconds: Mapped[int] = mapped_column(default=600)
    boot_lease_seconds: Mapped[int] = mapped_column(default=120, server_default="120")
    description: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    reverse_dns: Mapped[str] = mapped_column(default="rfc2317", server_default="rfc2317")
    allow_dns: Mapped[bool] = mapped_column(default=True, server_default=true())
    allow_proxy: Mapped[bool] = mapped_column(default=True, server_default=true())
    slaac: Mapped[bool] = mapped_column(default=False, server_default=false())
    disabled_boot_architectures: Mapped[list[Any]] = mapped_column(default=list)
    unknown_clients: Mapped[str] = mapped_column(default="serve", server_default="serve")
    found: Mapped[bool] = mapped_column(default=False, server_default=false())
    vlan: Mapped[Vlan] = relationship()
    domain: Mapped[Domain] = relationship()


class IpRange(Base):
    """A range of a subnet.

    kind: dynamic (DHCP leases from it), reserved (Muster keeps away; in an unmanaged subnet it hands out only these), or
    static_pool (what Muster hands out to machines comes from these ranges alone, where a subnet has any).
    """

    __tablename__ = "ip_range"
    __table_args__ = (CheckConstraint("kind IN ('dynamic', 'reserved', 'static_pool')", name="kind"),)

    id: Mapped[PrimaryKey]
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    start: Mapped[str]
    end: Mapped[str]
    start_key: Mapped[str]
    end_key: Mapped[str]
    comment: Mapped[str] = mapped_column(default="")


class IpAddress(Base):
    """One address in use.

    kind: auto (given at deploy, freed at release), sticky (kept through releases), static (chosen by a person for an
    interface), reservation (promised to `mac`, which nothing else is known of), user_reserved (kept for a person),
    rack, bmc.  What DHCP has leased is observed, and is in `lease`.
    """

    __tablename__ = "ip_address"
    __table_args__ = (
        UniqueConstraint("subnet_id", "address"),
        Index("ix_ip_address_hostname", "hostname", "interface_id"),
        Index(
            "uq_ip_address_reservation",
            "subnet_id",
            "mac",
            unique=True,
            sqlite_where=text("kind = 'reservation'"),
            postgresql_where=text("kind = 'reservation'"),
        ),
        CheckConstraint("(kind = 'reservation') = (mac IS NOT NULL)", name="mac"),
    )

    id: Mapped[PrimaryKey]
    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id"), index=True)
    address: Mapped[str]
    address_key: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(default="auto")
    interface_id: Mapped[int | None] = mapped_column(ForeignKey("interface.id", ondelete="CASCADE"), index=True)
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    hostname: Mapped[str | None]
    mac: Mapped[str | None] = mapped_column(index=True)
    comment: Mapped[str] = mapped_column(default="", server_default=text("''"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[CreatedAt]
    subnet: Mapped[Subnet] = relationship()


class StaticRoute(Base):
    """Clients of the source subnet reach the destination subnet through a gateway of theirs (DHCP option 121, netplan)."""

    __tablename__ = "static_route"
    __table_args__ = (
        UniqueConstraint("source_id", "destination_id", "gateway"),
        CheckConstraint("metric >= 0", name="metric"),
    )

    id: Mapped[PrimaryKey]
    source_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    destination_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    gateway: Mapped[str]
    metric: Mapped[int] = mapped_column(default=0)
    source: Mapped[Subnet] = relationship(foreign_keys=[source_id])
    destination: Mapped[Subnet] = relationship(foreign_keys=[destination_id])
