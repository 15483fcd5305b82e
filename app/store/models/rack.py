"""Racks and what travels to them: offers, applies, observations, record changes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, CreatedAt, PrimaryKey


class Rack(Base):
    """A rack host. generation grows whenever desired state that it serves changes; offers are numbered per rack.

    Tokens are kept as SHA-256.  relay_token_hash authenticates the rack's squid in front of the machine edge.
    layout, ports and interfaces are what the rack reported when it enrolled (and since).  dhcp_server: kea or dhcpd, which
    daemon serves DHCP there.  ha_certificate: with which its Kea speaks to its partner's (PEM).  request_id: the requests whose
    changes have raised the generation since the last plan, a space apart.  agreed_records: the sequence at which the
    digests of its records last agreed with ours, at agreed_at; differing: scopes in which they did not, when it last asked.
    omapi_key_at: when it last made a new OMAPI key, None since it enrolled; omapi_key_tried_at: when that was last due.
    broker_password: of its user in a Redis broker, sealed; None until somebody needs it; broker_password_at: when it was made.
    canary: the operator has chosen it to be the first that takes what many racks are to take.
    """

    __tablename__ = "rack"
    __table_args__ = (CheckConstraint("dhcp_server IN ('kea', 'dhcpd')", name="dhcp_server"),)

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    token_hash: Mapped[str | None] = mapped_column(unique=True)
    relay_token_hash: Mapped[str | None]
    layout: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ports: Mapped[dict[str, Any]] = mapped_column(default=dict)
    interfaces: Mapped[list[Any]] = mapped_column(default=list)
    control_plane_host: Mapped[str] = mapped_column(default="")
    control_plane_port: Mapped[int] = mapped_column(default=5240)
    generation: Mapped[int] = mapped_column(default=1)
    request_id: Mapped[str | None]
    planned_generation: Mapped[int] = mapped_column(default=0)
    offer_number: Mapped[int] = mapped_column(default=0)
    applied_offer: Mapped[int] = mapped_column(default=0)
    applied_records: Mapped[int] = mapped_column(BigInteger, default=0)
    agreed_records: Mapped[int | None] = mapped_column(BigInteger)
    agreed_at: Mapped[dt.datetime | None]
    differing: Mapped[list[Any] | None]
    version: Mapped[str | None]
    ha_certificate: Mapped[str | None] = mapped_column(Text)
    dhcp_server: Mapped[str] = mapped_column(default="kea", server_default="kea")
    omapi_key_at: Mapped[dt.datetime | None]
    omapi_key_tried_at: Mapped[dt.datetime | None]
    broker_password: Mapped[str | None] = mapped_column(Text)
    broker_password_at: Mapped[dt.datetime | None]
    canary: Mapped[bool] = mapped_column(default=False, server_default=false())
    seen_at: Mapped[dt.datetime | None]
    enrolled_at: Mapped[CreatedAt]


class RackChange(Base):
    """Which change of desired state gave a rack a generation; a change without an audit row has only its actor."""

    __tablename__ = "rack_change"
    __table_args__ = (Index("ix_rack_change_rack_id_generation", "rack_id", "generation"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"))
    generation: Mapped[int]
    actor: Mapped[str]
    change_event_id: Mapped[int | None] = mapped_column(ForeignKey("change_event.id", ondelete="SET NULL"), index=True)
    at: Mapped[CreatedAt]


class EnrolmentCode(Base):
    """A one-time code with which a rack host enrols. Only its SHA-256 is kept."""

    __tablename__ = "enrolment_code"

    id: Mapped[PrimaryKey]
    code_hash: Mapped[str] = mapped_column(unique=True)
    rack_name: Mapped[str | None]
    expires_at: Mapped[dt.datetime]
    used_at: Mapped[dt.datetime | None]
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    created_at: Mapped[CreatedAt]


class Plan(Base):
    """The stored summary of a comparison: what would change on a rack. status: empty, offered, held, superseded."""

    __tablename__ = "plan"

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    generation: Mapped[int]
    status: Mapped[str]
    changes: Mapped[list[Any]] = mapped_column(default=list)
    dangers: Mapped[list[Any]] = mapped_column(default=list)
    danger_hash: Mapped[str | None]
    approved_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    created_at: Mapped[CreatedAt]


class Offer(Base):
    """What a rack is asked to run, numbered and signed. content is the canonical JSON that the signature covers.

    request_id: the requests that it came of, a space apart.
    """

    __tablename__ = "offer"
    __table_args__ = (UniqueConstraint("rack_id", "number"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    generation: Mapped[int]
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("plan.id", ondelete="SET NULL"), index=True)
    request_id: Mapped[str | None]
    content: Mapped[str] = mapped_column(Text)
    signature: Mapped[str]
    digests: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[CreatedAt]


class Apply(Base):
    """The record of a rack carrying out one offer for one service. outcome: kept, undone, failed, unchanged.

    digest is that of the files that ran afterwards; undone_ok says whether what was put back serves.
    """

    __tablename__ = "apply"

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    offer_number: Mapped[int]
    service: Mapped[str]
    outcome: Mapped[str]
    stage: Mapped[str]
    reason: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str | None]
    undone_ok: Mapped[bool | None]
    seconds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    probes: Mapped[list[Any]] = mapped_column(default=list)
    request_id: Mapped[str | None]
    at: Mapped[CreatedAt]


class Observation(Base):
    """The newest word of a rack about one of its services."""

    __tablename__ = "observation"
    __table_args__ = (UniqueConstraint("rack_id", "service"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    service: Mapped[str]
    digest: Mapped[str | None]
    running: Mapped[bool] = mapped_column(default=False)
    probes_ok: Mapped[bool | None]
    detail: Mapped[str | None] = mapped_column(Text)
    at: Mapped[CreatedAt]


class RecordChange(Base):
    """One host or one RRset as it should be; value None is a tombstone. sequence grows in commit order.

    Sequences come from the `records` counter, whose row is locked last in the writing transaction, so that a rack that
    has read up to a sequence has missed nothing below it.  bucket and weight: its place and share in the scope's digests
    (`renderers.record_digest`); the weight of a tombstone, and of nothing else, is 0.  superseded_at: when it was noticed
    that a newer word stands; an older word without one may still be superseded.  asked_at: when the request began.
    """

    __tablename__ = "record_change"
    __table_args__ = (
        Index("ix_record_change_scope_sequence", "scope", "sequence"),
        Index("ix_record_change_key", "scope", "key", "sequence"),
        Index("ix_record_change_bucket", "scope", "bucket"),
        Index(
            "ix_record_change_superseded_at",
            "superseded_at",
            sqlite_where=text("superseded_at IS NOT NULL"),
            postgresql_where=text("superseded_at IS NOT NULL"),
        ),
        Index(
            "ix_record_change_tombstone",
            "at",
            sqlite_where=text("weight = 0"),
            postgresql_where=text("weight = 0"),
        ),
    )

    sequence: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    scope: Mapped[str]
    key: Mapped[str]
    value: Mapped[dict[str, Any] | None]
    bucket: Mapped[int] = mapped_column(SmallInteger)
    weight: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str | None]
    request_id: Mapped[str | None]
    superseded_at: Mapped[dt.datetime | None]
    asked_at: Mapped[dt.datetime | None]
    at: Mapped[CreatedAt]


class RecordScope(Base):
    """What was given up of a scope: a rack that has not read up to `floor` may have missed a tombstone."""

    __tablename__ = "record_scope"

    scope: Mapped[str] = mapped_column(primary_key=True)
    floor: Mapped[int] = mapped_column(BigInteger, default=0)


class RecordDigest(Base):
    """The weights of a bucket's records, summed, up to the sequence in the counter `digested`."""

    __tablename__ = "record_digest"

    scope: Mapped[str] = mapped_column(primary_key=True)
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    total: Mapped[int] = mapped_column(BigInteger)


class RecordDrift(Base):
    """Where a rack last found records that were not as they should be. place: store (its own copy), daemon (what is served).

    left: how many of the `found` keys it could not mend.
    """

    __tablename__ = "record_drift"
    __table_args__ = (UniqueConstraint("rack_id", "scope", "place"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    scope: Mapped[str]
    place: Mapped[str]
    buckets: Mapped[int]
    found: Mapped[int]
    left: Mapped[int]
    keys: Mapped[list[Any]] = mapped_column(default=list)
    at: Mapped[CreatedAt]


class RecordApply(Base):
    """The record of a rack making one batch of record changes live, up to `sequence`.

    seconds: request (asked to committed), wake (committed to fetched), fetch (on the wire), daemon, check, report, total
    (committed to reported), as far as they are known.
    """

    __tablename__ = "record_apply"
    __table_args__ = (Index("ix_record_apply_rack_id_sequence", "rack_id", "sequence"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int]
    failed: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    request_id: Mapped[str | None]
    at: Mapped[CreatedAt]


class RecordFailure(Base):
    """A record change that a rack could not apply, with its reason; removed when it or a later change of its key succeeds."""

    __tablename__ = "record_failure"

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    scope: Mapped[str]
    key: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str | None]
    at: Mapped[CreatedAt]


class Counter(Base):
    """A number that only grows, locked by the row."""

    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, default=0)
