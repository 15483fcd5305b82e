"""Searching what machines have logged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from app.services.addressing import parse_address
from app.services.context import Context
from app.store.models import Machine, SyslogLine
from app.store.queries.page import newest

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""In the order of their numbers, the gravest first (RFC 5424, section 6.2.1; names of syslog(3))."""
FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", *(f"local{number}" for number in range(8)),
)  # fmt: skip


@dataclass(frozen=True)
class SyslogFilters:
    """What to look for; None means any.

    severity: a name of SEVERITIES, this one or a graver one.  program: as the sender says, all of it.  text: part of the
    message, in small or capital letters.  address: where it came from.  since, until: both ends included.
    """

    machine_id: int | None = None
    rack_id: int | None = None
    severity: str | None = None
    program: str | None = None
    text: str | None = None
    address: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


def find(context: Context, filters: SyslogFilters, after: int | None = None, limit: int = 100) -> list[SyslogLine]:
    """A page of lines, the newest first, going on below an id (None and 0: from the newest)."""
    context.require("viewer", "see syslog")
    wanted = {"machine_id": filters.machine_id, "rack_id": filters.rack_id, "program": filters.program}
    if filters.address is not None:
        wanted["address"] = str(parse_address(filters.address, "address"))
    statement = select(SyslogLine).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if filters.severity is not None:
        statement = statement.where(SyslogLine.severity <= SEVERITIES.index(filters.severity))
    if filters.text:
        statement = statement.where(SyslogLine.message.icontains(filters.text, autoescape=True))
    if filters.since is not None:
        statement = statement.where(SyslogLine.at >= filters.since)
    if filters.until is not None:
        statement = statement.where(SyslogLine.at <= filters.until)
    with context.store.read() as session:
        return list(session.scalars(newest(statement, SyslogLine.id, after, limit)))


def hostnames(context: Context, lines: Iterable[SyslogLine]) -> dict[int, str]:
    """Names of the machines whose lines these are, by id. One query."""
    context.require("viewer", "see syslog")
    wanted = {line.machine_id for line in lines if line.machine_id is not None}
    if not wanted:
        return {}
    with context.store.read() as session:
        rows = session.execute(select(Machine.id, Machine.hostname).where(Machine.id.in_(wanted)))
        return {row.id: row.hostname for row in rows}
