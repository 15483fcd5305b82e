"""What racks say of the zones they serve: the serial at each, so that a name is known to be at every rack.

A zone is in sync at a rack when its serial there is not behind the primary's (RFC 1982).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.services.changes import changing, event
from app.services.context import Context
from app.services.errors import NotFound
from app.store.dns_intent import ZONE_SERIAL
from app.store.models import Counter, Domain, Rack, ZoneObservation
from app.store.queries.zones import zones

if TYPE_CHECKING:
    import datetime as dt

LARGEST_SERIAL = (1 << 32) - 1


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
