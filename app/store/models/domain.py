"""DNS: domains that Muster is authoritative for, the records that people add, and servers outside that may copy zones."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, PrimaryKey


class Domain(Base):
    """A DNS domain that Muster is authoritative for.

    primary_rack_id: the rack that holds the primary of its zone; the first enrolled one when unset.
    """

    __tablename__ = "domain"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    ttl_seconds: Mapped[int] = mapped_column(default=30)
    description: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    primary_rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="SET NULL"), index=True)


class DnsRecord(Base):
    """One record that a person added: several of one owner and type make an RRset, whose TTL they share.

    name: relative to the domain, `@` for the domain itself.  data: in presentation form (RFC 1035 section 5.1).
    """

    __tablename__ = "dns_record"
    __table_args__ = (
        UniqueConstraint("domain_id", "name", "type", "data"),
        CheckConstraint("type IN ('A', 'AAAA', 'CNAME', 'MX', 'NS', 'SRV', 'SSHFP', 'TXT')", name="type"),
    )

    id: Mapped[PrimaryKey]
    domain_id: Mapped[int] = mapped_column(ForeignKey("domain.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    type: Mapped[str]
    data: Mapped[str] = mapped_column(Text)
    ttl_seconds: Mapped[int | None]
    domain: Mapped[Domain] = relationship()


class DnsSecondary(Base):
    """A server that is not ours and may copy zones, identified by a TSIG key (RFC 8945). secret is encrypted."""

    __tablename__ = "dns_secondary"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str]
    port: Mapped[int] = mapped_column(default=53)
    key_name: Mapped[str] = mapped_column(unique=True)
    algorithm: Mapped[str] = mapped_column(default="hmac-sha256")
    secret: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(default=1)


class ZoneObservation(Base):
    """The serial of a zone at one rack's BIND, as the rack has asked it. Observed, never desired.

    behind_since: when it was first known to be behind the primary's serial; None while it is not.
    """

    __tablename__ = "zone_observation"
    __table_args__ = (UniqueConstraint("rack_id", "zone"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    zone: Mapped[str] = mapped_column(index=True)
    serial: Mapped[int] = mapped_column(BigInteger)
    behind_since: Mapped[dt.datetime | None]
    at: Mapped[dt.datetime]
