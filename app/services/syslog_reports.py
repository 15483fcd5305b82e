"""What racks bring of syslog: stored once, attributed to machines, bounded.

A batch is lines of one file of the rack's spool, from one byte to another.  Lines and the place after them are stored in
one transaction, and only a batch that begins where the stored ones end is taken; so one that is sent twice, or comes late,
is stored once.  A rack is believed only about addresses of subnets whose VLAN it serves.

A line belongs to the machine that has its address: as desired (an interface's address), as leased (the lease's MAC), or as
the machine was given its boot script (whose boot token names the address), and since before the line was written, as far
as that is known: a backlog that comes late is not another machine's that was given the address meanwhile.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from app.services import settings
from app.services.addressing import address_key, parse_address
from app.services.context import Context
from app.services.errors import Invalid
from app.services.lease_reports import foreign
from app.services.retention_rules import DEFAULTS, SETTING
from app.store.locks import hold
from app.store.models import BootToken, Interface, IpAddress, Lease, SyslogLine, SyslogPosition

MOST = 500
LONGEST = {"host": 255, "program": 128, "process": 128, "message": 4096}
FACILITIES, SEVERITIES = 24, 8
STREAMS_KEPT = 4
"""Files of each rack whose place is remembered; its spool has two."""
SLACK_SECONDS = 60.0
"""How far the clocks of a rack and of the control plane may differ."""
_STREAM = re.compile(r"[0-9A-Fa-f]{32}")


@dataclass(frozen=True)
class Taken:
    """position: up to which byte the file is stored.  refused: how many lines were not taken; reason: of the first."""

    position: int
    refused: int = 0
    reason: str | None = None


def report(context: Context, rack_id: int, stream: str, begin: int, end: int, items: list[Any]) -> Taken:
    """Store a batch if it begins where the stored lines of its file end; where they end now. Invalid if it is malformed.

    An empty batch from 0 to 0 only asks.
    """
    if not _STREAM.fullmatch(stream):
        raise Invalid(f"stream {stream[:40]!r}: expected 32 hexadecimal digits", field="stream")
    if end < begin or (items and end == begin):
        raise Invalid(f"end: {end} is not after begin, {begin}", field="end")
    if len(items) > MOST:
        raise Invalid(f"lines: {len(items)} of them; at most {MOST} in one report", field="lines")
    now = context.clock()
    reasons: list[str] = []
    lines: list[dict[str, Any]] = []
    for item in items:
        try:
            lines.append(_checked(item, now))
        except (Invalid, KeyError, TypeError, ValueError) as error:
            reasons.append(f"a line is malformed: {error}")
    with context.store.write() as session:
        hold(session, f"syslog:{rack_id}")
        place = _place(session, rack_id, stream)
        if place.position != begin or end == begin:
            return Taken(place.position)
        strangers = foreign(
            session, rack_id, sorted({line["address"] for line in lines}), "or have its machines log to that rack"
        )
        reasons += [strangers[line["address"]] for line in lines if line["address"] in strangers]
        lines = [line for line in lines if line["address"] not in strangers]
        owners = _owners(session, {line["address"] for line in lines}, now)
        for line in lines:
            line |= {"rack_id": rack_id, "machine_id": _owner(owners.get(line["address"], ()), line["at"])}
        place.position = end
        if lines:
            session.execute(insert(SyslogLine), lines)
            _bound(session, 2 * len(lines))
    return Taken(end, len(reasons), reasons[0] if reasons else None)


def _place(session: Session, rack_id: int, stream: str) -> SyslogPosition:
    """The row of a file; a new one makes the oldest go."""
    mine = select(SyslogPosition).where(SyslogPosition.rack_id == rack_id).order_by(SyslogPosition.id)
    rows = list(session.scalars(mine))
    for row in rows:
        if row.stream == stream:
            return row
    for row in rows[: max(0, len(rows) + 1 - STREAMS_KEPT)]:
        session.delete(row)
    made = SyslogPosition(rack_id=rack_id, stream=stream, position=0)
    session.add(made)
    return made


def _owners(session: Session, addresses: Iterable[str], now: dt.datetime) -> dict[str, list[tuple[int, dt.datetime]]]:
    """Machines of each address, the surest first, with the time since when they have it. Three queries."""
    keys = {address_key(address): address for address in addresses}
    found: dict[str, list[tuple[int, dt.datetime]]] = {}
    if not keys:
        return found
    given = (
        select(IpAddress.address_key, Interface.machine_id, IpAddress.created_at)
        .join(Interface, Interface.id == IpAddress.interface_id)
        .where(IpAddress.address_key.in_(keys), Interface.machine_id.is_not(None))
    )
    leased = (
        select(Lease.address_key, Interface.machine_id, Lease.started_at)
        .join(Interface, Interface.mac == Lease.mac)
        .where(Lease.address_key.in_(keys), Lease.expires_at > now, Interface.machine_id.is_not(None))
        .order_by(Lease.started_at.desc())
    )
    booted = (
        select(BootToken.address, BootToken.machine_id, BootToken.issued_at)
        .where(BootToken.address.in_(keys.values()), BootToken.machine_id.is_not(None), BootToken.expires_at > now)
        .order_by(BootToken.id.desc())
    )
    for key, machine_id, since in (*session.execute(given), *session.execute(leased)):
        if machine_id is not None:
            found.setdefault(keys[key], []).append((machine_id, since))
    for address, machine_id, since in session.execute(booted):
        if address is not None and machine_id is not None:
            found.setdefault(address, []).append((machine_id, since))
    return found


def _owner(owners: Iterable[tuple[int, dt.datetime]], at: dt.datetime) -> int | None:
    """The first machine that had the address by then."""
    until = at + dt.timedelta(seconds=SLACK_SECONDS)
    return next((machine_id for machine_id, since in owners if since <= until), None)


def _bound(session: Session, most: int) -> None:
    """Delete the oldest lines above the setting's number, at most so many: faster than they come."""
    keep = (DEFAULTS | settings.get(session, SETTING, {}))["syslog_lines"]
    # SQLite finds either end by the index, but reads the whole table for both in one query.
    first, last = (session.scalar(select(end(SyslogLine.id))) for end in (func.min, func.max))
    if first is not None and last is not None and last - first >= keep:
        session.execute(delete(SyslogLine).where(SyslogLine.id <= min(last - keep, first + most)))


def _checked(item: Any, now: dt.datetime) -> dict[str, Any]:
    """A row out of an entry. Invalid, KeyError, TypeError or ValueError when it is malformed."""
    if not isinstance(item, dict):
        raise TypeError("expected an object")
    numbers = {"facility": FACILITIES, "severity": SEVERITIES}
    row: dict[str, Any] = {name: item[name] for name in numbers}
    for name, bound in numbers.items():
        if not isinstance(row[name], int) or isinstance(row[name], bool) or not 0 <= row[name] < bound:
            raise ValueError(f"{name} {str(row[name])[:20]!r}: a number below {bound}")
    at = dt.datetime.fromisoformat(str(item["at"])[:64])
    if at.tzinfo is None:
        raise ValueError(f"at {item['at']!r:.40}: it has no time zone")
    address = str(parse_address(str(item["source"])[:64], "source"))
    texts = {name: harmless(str(item[name]))[:longest] for name, longest in LONGEST.items()}
    return row | texts | {"address": address, "at": min(at, now)}


def harmless(text: str) -> str:
    """Text that does nothing to a terminal or page: what is not printable is U+FFFD; a tab is a blank."""
    return "".join(one if one.isprintable() else " " if one == "\t" else "\ufffd" for one in text)
