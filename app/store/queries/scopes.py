"""Which scopes of records exist and which rack applies them.

`vlan:<id>` (DHCP hosts) is applied by the VLAN's racks; `zone:<name>` (RRsets) by the zone's primary, which is the rack
enrolled first.  The other racks are secondaries and get zones by zone transfer, so they apply no RRsets themselves.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import bindparam, func, literal, select, union_all
from sqlalchemy.orm import Session, aliased

from app.store.models import Domain, Rack, Subnet, Vlan
from app.store.queries.serving import is_served, served_by
from renderers.reverse import reverse_zones

REVERSE_ZONE_IDS = 1 << 33
_PRIMARY = select(func.min(Rack.id)).where(Rack.token_hash.is_not(None))
_TARGET = aliased(Vlan)
_OF_VLANS = (
    select(Vlan.id.label("vlan_id"), Rack.applied_records, Rack.seen_at)
    .outerjoin(_TARGET, _TARGET.id == Vlan.relay_vlan_id)
    .join(Rack, Rack.id.in_((Vlan.rack_id, Vlan.secondary_rack_id, _TARGET.rack_id, _TARGET.secondary_rack_id)))
    .where(Vlan.id.in_(bindparam("vlan_ids", expanding=True)))
)
_OF_ZONES = select(literal(0).label("vlan_id"), Rack.applied_records, Rack.seen_at).where(
    Rack.id == _PRIMARY.scalar_subquery()
)
_OF_BOTH = union_all(_OF_VLANS, _OF_ZONES)
SILENT_SECONDS = 90
"""A rack that was heard of so much earlier than its partner is not waited for: the partner serves alone."""


@dataclass(frozen=True)
class ZoneName:
    """A zone that Muster is authoritative for. Reverse zones have no row; their id is made from their name."""

    zone_id: int
    name: str
    ttl_seconds: int
    reverse: bool = False

    @property
    def scope(self) -> str:
        """The scope of its records."""
        return f"zone:{self.name}"


def zones(session: Session) -> tuple[ZoneName, ...]:
    """All domains in order of id, then the reverse zones of all subnets on VLANs that a rack serves. Two queries."""
    forward = [
        ZoneName(domain.id, domain.name, domain.ttl_seconds)
        for domain in session.scalars(select(Domain).order_by(Domain.id))
    ]
    statement = (
        select(Subnet.cidr, Domain.ttl_seconds)
        .join(Vlan, Vlan.id == Subnet.vlan_id)
        .join(Domain, Domain.id == Subnet.domain_id)
        .where(is_served(), ~Subnet.found)
        .order_by(Subnet.id)
    )
    reverse: dict[str, ZoneName] = {}
    for cidr, ttl in session.execute(statement):
        for name in reverse_zones(cidr):
            zone_id = REVERSE_ZONE_IDS + zlib.crc32(name.encode())
            reverse.setdefault(name, ZoneName(zone_id, name, ttl, reverse=True))
    return (*forward, *reverse.values())


def primary_rack_id(session: Session) -> int | None:
    """The rack that is primary for all zones: the enrolled one with the lowest id."""
    return session.scalar(_PRIMARY)


def scopes_of_rack(session: Session, rack_id: int) -> tuple[str, ...]:
    """Scopes whose records the rack applies, sorted. At most four queries."""
    found = [f"vlan:{vlan_id}" for vlan_id in session.scalars(select(Vlan.id).where(served_by(rack_id)))]
    if primary_rack_id(session) == rack_id:
        found += [zone.scope for zone in zones(session)]
    return tuple(sorted(found))


def applied_by(session: Session, scopes: set[str]) -> list[int]:
    """Up to which sequence each rack that applies records of any of the scopes has applied them. One query.

    Of a VLAN's two racks one that has been silent for SILENT_SECONDS longer than the other does not count.
    """
    vlan_ids = [int(scope.removeprefix("vlan:")) for scope in scopes if scope.startswith("vlan:")]
    statement = _OF_VLANS if len(vlan_ids) == len(scopes) else _OF_BOTH
    racks = defaultdict(list)
    for vlan_id, applied, seen_at in session.execute(statement, {"vlan_ids": vlan_ids}):
        racks[vlan_id].append((applied, seen_at))
    found = []
    for of_vlan in racks.values():
        newest = max((seen_at for _, seen_at in of_vlan if seen_at is not None), default=None)
        for applied, seen_at in of_vlan:
            silent = newest is not None and (seen_at is None or (newest - seen_at).total_seconds() > SILENT_SECONDS)
            if len(of_vlan) == 1 or not silent:
                found.append(applied)
    return found
