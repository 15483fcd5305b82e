"""Which zones Muster is authoritative for, and which rack is primary for each: the one that its domain names, else the
one that was enrolled first.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.models import Domain, Rack, Subnet, Vlan
from app.store.queries.serving import is_served
from renderers.reverse import glue_zone, owns_glue, reverse_zones

REVERSE_ZONE_IDS = 1 << 33
INTERNAL_ZONE = "muster-internal"
INTERNAL_ZONE_ID = 1 << 34
INTERNAL_TTL_SECONDS = 15
FIRST_ENROLLED = select(func.min(Rack.id)).where(Rack.token_hash.is_not(None))
A_DOMAIN_WITH_PRIMARY = select(Domain.id).where(Domain.primary_rack_id.is_not(None)).limit(1)


@dataclass(frozen=True)
class ZoneName:
    """A zone that Muster is authoritative for.

    domain: the domain in which its name servers are named.  primary_rack_id: None while no rack is enrolled.
    Reverse zones and the internal zone have no row; the id of a reverse one is made from its name.
    """

    zone_id: int
    name: str
    ttl_seconds: int
    reverse: bool = False
    domain: str = ""
    primary_rack_id: int | None = None

    @property
    def scope(self) -> str:
        """The scope of its records."""
        return f"zone:{self.name}"

    @property
    def internal(self) -> bool:
        """Whether it is the domain of the racks' own names, which only Muster edits."""
        return self.name == INTERNAL_ZONE


def zones(session: Session) -> tuple[ZoneName, ...]:
    """All domains in order of id, the internal one, then the reverse zones of all subnets on VLANs that a rack serves.

    Three queries.
    """
    enrolled = list(session.scalars(select(Rack.id).where(Rack.token_hash.is_not(None)).order_by(Rack.id)))
    first = enrolled[0] if enrolled else None

    def primary(wanted: int | None) -> int | None:
        return wanted if wanted in enrolled else first

    forward = [
        ZoneName(
            domain.id,
            domain.name,
            domain.ttl_seconds,
            domain=domain.name,
            primary_rack_id=primary(domain.primary_rack_id),
        )
        for domain in session.scalars(select(Domain).order_by(Domain.id))
    ]
    internal = ZoneName(
        INTERNAL_ZONE_ID, INTERNAL_ZONE, INTERNAL_TTL_SECONDS, domain=INTERNAL_ZONE, primary_rack_id=first
    )
    statement = (
        select(Subnet.cidr, Subnet.reverse_dns, Domain.ttl_seconds, Domain.name, Domain.primary_rack_id)
        .join(Vlan, Vlan.id == Subnet.vlan_id)
        .join(Domain, Domain.id == Subnet.domain_id)
        .where(is_served(), ~Subnet.found)
        .order_by(Subnet.id)
    )
    reverse: dict[str, ZoneName] = {}
    for cidr, mode, ttl, domain, wanted in session.execute(statement):
        for name in (*reverse_zones(cidr, mode), *glue_zones(cidr, mode)):
            zone_id = REVERSE_ZONE_IDS + zlib.crc32(name.encode())
            made = ZoneName(zone_id, name, ttl, reverse=True, domain=domain, primary_rack_id=primary(wanted))
            reverse.setdefault(name, made)
    return (*forward, internal, *reverse.values())


def glue_zones(cidr: str, mode: str) -> tuple[str, ...]:
    """The zone above a classless one, when it is ours to serve."""
    glue = glue_zone(cidr, mode)
    return (glue,) if glue is not None and owns_glue(cidr) else ()
