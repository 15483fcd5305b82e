"""Which scopes of records exist and which rack applies them.

`vlan:<id>` (DHCP hosts) is applied by the VLAN's racks; `zone:<name>` (RRsets) by the zone's primary.  The
other racks are secondaries and get zones by zone transfer, so they apply no RRsets themselves.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import bindparam, select, union_all
from sqlalchemy.orm import Session, aliased

from app.store.models import Rack, Vlan
from app.store.queries.serving import served_by
from app.store.queries.zones import A_DOMAIN_WITH_PRIMARY, FIRST_ENROLLED, zones

_TARGET = aliased(Vlan)
_OF_VLANS = (
    select(Vlan.id.label("vlan_id"), Rack.applied_records, Rack.seen_at)
    .outerjoin(_TARGET, _TARGET.id == Vlan.relay_vlan_id)
    .join(Rack, Rack.id.in_((Vlan.rack_id, Vlan.secondary_rack_id, _TARGET.rack_id, _TARGET.secondary_rack_id)))
    .where(Vlan.id.in_(bindparam("vlan_ids", expanding=True)))
)
_PRIMARIES = select((-Rack.id).label("vlan_id"), Rack.applied_records, Rack.seen_at)
_OF_BOTH = union_all(_OF_VLANS, _PRIMARIES.where(Rack.id == FIRST_ENROLLED.scalar_subquery()))
_OF_SOME = union_all(_OF_VLANS, _PRIMARIES.where(Rack.id.in_(bindparam("rack_ids", expanding=True))))
SILENT_SECONDS = 90
"""A rack that was heard of so much earlier than its partner is not waited for: the partner serves alone."""


def scopes_of_rack(session: Session, rack_id: int) -> tuple[str, ...]:
    """Scopes whose records the rack applies, sorted. At most four queries."""
    found = [f"vlan:{vlan_id}" for vlan_id in session.scalars(select(Vlan.id).where(served_by(rack_id)))]
    found += [zone.scope for zone in zones(session) if zone.primary_rack_id == rack_id]
    return tuple(sorted(found))


def applied_by(session: Session, scopes: set[str]) -> list[int]:
    """Up to which sequence each rack that applies records of any of the scopes has applied them. One query.

    Of a VLAN's two racks one that has been silent for SILENT_SECONDS longer than the other does not count.
    """
    vlan_ids = [int(scope.removeprefix("vlan:")) for scope in scopes if scope.startswith("vlan:")]
    statement: Any = _OF_VLANS
    values: dict[str, list[int]] = {"vlan_ids": vlan_ids}
    if len(vlan_ids) < len(scopes):
        statement = _OF_BOTH
        if session.scalar(A_DOMAIN_WITH_PRIMARY) is not None:
            statement = _OF_SOME
            values["rack_ids"] = [zone.primary_rack_id or 0 for zone in zones(session) if zone.scope in scopes]
    racks = defaultdict(list)
    for vlan_id, applied, seen_at in session.execute(statement, values):
        racks[vlan_id].append((applied, seen_at))
    found = []
    for of_vlan in racks.values():
        newest = max((seen_at for _, seen_at in of_vlan if seen_at is not None), default=None)
        for applied, seen_at in of_vlan:
            silent = newest is not None and (seen_at is None or (newest - seen_at).total_seconds() > SILENT_SECONDS)
            if len(of_vlan) == 1 or not silent:
                found.append(applied)
    return found
