"""What machines have logged, as racks bring it. Observed, never desired."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, LongKey, PrimaryKey


class SyslogLine(Base):
    """One line of syslog.

    machine_id: whose address it came from at the time, None where that is not known.  address: where it came from.
    facility, severity: numbers of RFC 5424, section 6.2.1.  host, program, process: as the sender says; nothing of it is
    trusted.  at: when the rack got it, by the rack's clock, and never later than now by ours.
    """

    __tablename__ = "syslog_line"
    __table_args__ = (
        Index("ix_syslog_line_machine_id_id", "machine_id", "id"),
        CheckConstraint("facility BETWEEN 0 AND 23", name="facility"),
        CheckConstraint("severity BETWEEN 0 AND 7", name="severity"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[LongKey]
    rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="SET NULL"), index=True)
    machine_id: Mapped[int | None] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"))
    address: Mapped[str] = mapped_column(index=True)
    facility: Mapped[int]
    severity: Mapped[int]
    host: Mapped[str]
    program: Mapped[str]
    process: Mapped[str]
    message: Mapped[str] = mapped_column(Text)
    at: Mapped[dt.datetime] = mapped_column(index=True)


class SyslogPosition(Base):
    """Up to which byte a file of a rack's spool is stored. stream: identifier of the file's first line."""

    __tablename__ = "syslog_position"
    __table_args__ = (UniqueConstraint("rack_id", "stream"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    stream: Mapped[str]
    position: Mapped[int]
