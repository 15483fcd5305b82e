"""What racks say of the zones they serve: the serial at each, so that a name is known to be at every rack.

A zone is in sync at a rack when its serial there is not behind the primary's (RFC 1982).  A transfer takes a moment, and so
does a report; a rack is blamed for a zone that stays behind for `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.services.changes import changing, event
from app.services.context import Context
from app.services.errors import NotFound
from app.store.dns_intent import ZONE_SERIAL
from app.store.locks import hold
from app.store.models import Counter, Domain, Rack, ZoneObservation
from app.store.queries.zones import zones

LARGEST_SERIAL = (1 << 32) - 1
PATIENCE_SECONDS = 20
LOCK = "zone-reports"
"""Held by whoever changes what is known of zones: a rack's report also says since when other racks are behind it."""


@dataclass(frozen=True)
class Behind:
    """A zone whose serial at a rack is behind the primary's."""

    zone: str
    serial: int
    primary: str
    wanted: int
    since: dt.datetime

    def sentence(self, now: dt.datetime) -> str:
        """Why the rack is not in sync, in words."""
        waited = (now - self.since).total_seconds()
        return (
            f"zone {self.zone} is behind its primary {self.primary} for {waited:.0f} s (serial {self.serial}, there"
            f" {self.wanted}): look whether this rack reaches {self.primary} at the DNS port, by TCP too"
        )


@dataclass(frozen=True)
class ZoneServer:
    """A zone at one rack. serial: None until the rack has said it. in_sync: not behind the primary; None if unknown."""

    rack_id: int
    rack: str
    role: str
    serial: int | None
    in_sync: bool | None
    at: dt.datetime | None


def observe(context: Context, rack_id: int, serials: dict[str, int], foreign: list[dict[str, str]]) -> None:
    """Keep the serials of some of a rack's zones.

    foreign: RRsets that somebody else had changed when the rack replaced them, with `scope`, `key` and what was `found`.
    """
    now = context.clock()
    with changing(context) as session:
        hold(session, LOCK)
        rack = session.get(Rack, rack_id)
        if rack is None:
            raise NotFound(f"there is no rack {rack_id}", field="rack_id")
        rack.seen_at = now
        mine = {row.zone: row for row in session.scalars(_of_rack(rack_id))}
        for zone, serial in serials.items():
            row = mine.get(zone)
            if row is None:
                session.add(ZoneObservation(rack_id=rack_id, zone=zone, serial=serial, at=now))
            else:
                row.serial, row.at = serial, now
        session.flush()
        _note_behind(session, serials, now)
        for item in foreign:
            event(
                session,
                context,
                "rack.record.foreign",
                f"Somebody else had changed {item['key']} in {item['scope']} on rack {rack.name}: {item['found']}."
                " Muster has put its own there.",
                rack_id=rack_id,
                level="warning",
            )


def servers(context: Context, domain_id: int) -> list[ZoneServer]:
    """A domain's zone at each enrolled rack, the primary first. NotFound when there is no such domain."""
    with context.store.read() as session:
        domain = session.get(Domain, domain_id)
        if domain is None:
            raise NotFound(f"there is no domain {domain_id}", field="domain_id")
        zone = next(zone for zone in zones(session) if zone.name == domain.name)
        statement = (
            select(Rack.id, Rack.name, ZoneObservation.serial, ZoneObservation.at)
            .outerjoin(ZoneObservation, (ZoneObservation.rack_id == Rack.id) & (ZoneObservation.zone == domain.name))
            .where(Rack.token_hash.is_not(None))
            .order_by(Rack.id != (zone.primary_rack_id or 0), Rack.id)
        )
        rows = session.execute(statement).all()
    newest = next((row.serial for row in rows if row.id == zone.primary_rack_id), None)
    return [
        ZoneServer(
            row.id,
            row.name,
            "primary" if row.id == zone.primary_rack_id else "secondary",
            row.serial,
            None if newest is None or row.serial is None else not_behind(row.serial, newest),
            row.at,
        )
        for row in rows
    ]


def behind(session: Session, now: dt.datetime) -> dict[int, list[Behind]]:
    """Zones that have been behind their primary for too long, by the rack that serves them. Six queries, one where there are none."""
    late = now - dt.timedelta(seconds=PATIENCE_SECONDS)
    rows = session.execute(
        select(ZoneObservation.rack_id, ZoneObservation.zone, ZoneObservation.serial, ZoneObservation.behind_since)
        .where(ZoneObservation.behind_since <= late)
        .order_by(ZoneObservation.zone)
    ).all()
    if not rows:
        return {}
    primaries = {zone.name: zone.primary_rack_id for zone in zones(session)}
    names = dict(session.execute(select(Rack.id, Rack.name).where(Rack.token_hash.is_not(None))).all())
    newest = _of_primaries(session, primaries, {row.zone for row in rows})
    found: dict[int, list[Behind]] = {}
    for row in rows:
        primary = primaries.get(row.zone)
        if row.rack_id not in names or primary not in names or row.zone not in newest:
            continue
        if not not_behind(row.serial, newest[row.zone]):
            one = Behind(row.zone, row.serial, names[primary], newest[row.zone], row.behind_since)
            found.setdefault(row.rack_id, []).append(one)
    return found


def forget(session: Session, zone: str) -> None:
    """A zone is served no more."""
    hold(session, LOCK)
    session.execute(delete(ZoneObservation).where(ZoneObservation.zone == zone))


def _note_behind(session: Session, names: Iterable[str], now: dt.datetime) -> None:
    """Say since when each rack's copy of these zones is behind."""
    primaries = {zone.name: zone.primary_rack_id for zone in zones(session)}
    newest = _of_primaries(session, primaries, names)
    for row in session.scalars(select(ZoneObservation).where(ZoneObservation.zone.in_(newest))):
        if not_behind(row.serial, newest[row.zone]):
            row.behind_since = None
        elif row.behind_since is None:
            row.behind_since = now


def _of_primaries(session: Session, primaries: dict[str, int | None], names: Iterable[str]) -> dict[str, int]:
    """The serials of zones at their primaries, as far as those have said them."""
    statement = select(ZoneObservation.zone, ZoneObservation.rack_id, ZoneObservation.serial)
    return {
        zone: serial
        for zone, rack_id, serial in session.execute(statement.where(ZoneObservation.zone.in_(list(names))))
        if primaries.get(zone) == rack_id
    }


def raise_serials(session: Session) -> None:
    """Have all zones' serials rise above everything that any rack has reported: a zone gets another primary."""
    highest = session.scalar(select(func.max(ZoneObservation.serial))) or 0
    if not highest:
        return
    counter = session.get(Counter, ZONE_SERIAL)
    if counter is None:
        session.add(Counter(name=ZONE_SERIAL, value=highest))
    else:
        session.execute(
            update(Counter).where(Counter.name == ZONE_SERIAL, Counter.value < highest).values(value=highest)
        )


def not_behind(serial: int, other: int) -> bool:
    """Whether a serial is the other or comes after it (RFC 1982, section 3.2)."""
    return (serial - other) % (1 << 32) < 1 << 31


def _of_rack(rack_id: int) -> Any:
    return select(ZoneObservation).where(ZoneObservation.rack_id == rack_id)
