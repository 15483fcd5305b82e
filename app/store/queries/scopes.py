"""Which scopes of records exist and which rack applies them.

`vlan:<id>` (DHCP hosts) is applied by the VLAN's rack; `zone:<name>` (RRsets) by the zone's primary, which is the rack
enrolled first.  The other racks are secondaries and get zones by zone transfer, so they apply no RRsets themselves.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from app.store.models import Domain, Rack, Subnet, Vlan
from renderers.reverse import reverse_zones

REVERSE_ZONE_IDS = 1 << 33
_PRIMARY = select(func.min(Rack.id)).where(Rack.token_hash.is_not(None))
_OF_VLANS = Rack.id.in_(select(Vlan.rack_id).where(Vlan.id.in_(bindparam("vlan_ids", expanding=True))))
_APPLIED = select(Rack.applied_records).where(_OF_VLANS)
_APPLIED_WITH_PRIMARY = select(Rack.applied_records).where(_OF_VLANS | (Rack.id == _PRIMARY.scalar_subquery()))


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
        .where(Vlan.rack_id.is_not(None))
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
    found = [f"vlan:{vlan_id}" for vlan_id in session.scalars(select(Vlan.id).where(Vlan.rack_id == rack_id))]
    if primary_rack_id(session) == rack_id:
        found += [zone.scope for zone in zones(session)]
    return tuple(sorted(found))


def applied_by(session: Session, scopes: set[str]) -> list[int]:
    """Up to which sequence each rack that applies records of any of the scopes has applied them. One query."""
    vlan_ids = [int(scope.removeprefix("vlan:")) for scope in scopes if scope.startswith("vlan:")]
    statement = _APPLIED if len(vlan_ids) == len(scopes) else _APPLIED_WITH_PRIMARY
    return list(session.scalars(statement, {"vlan_ids": vlan_ids}))
