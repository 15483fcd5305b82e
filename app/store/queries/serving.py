"""Which racks serve which VLANs: as primary, as secondary, or for VLANs whose DHCP comes through a relay agent.

A relayed VLAN has no rack of its own; those of the VLAN that its relay agent sends to serve it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session, aliased

from app.store.models import Vlan

_Target = aliased(Vlan)


def is_served() -> ColumnElement[bool]:
    """A condition on `Vlan`: whether any rack serves it."""
    target = select(_Target.id).where(_Target.rack_id.is_not(None))
    return or_(Vlan.rack_id.is_not(None), Vlan.relay_vlan_id.in_(target))


def served_by(rack_id: int) -> ColumnElement[bool]:
    """A condition on `Vlan`: whether this rack serves it, be it through a relay agent."""
    targets = select(_Target.id).where(or_(_Target.rack_id == rack_id, _Target.secondary_rack_id == rack_id))
    return or_(Vlan.rack_id == rack_id, Vlan.secondary_rack_id == rack_id, Vlan.relay_vlan_id.in_(targets))


def racks_of_vlans(session: Session, vlan_ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Ids of the racks of each VLAN, primary first; a VLAN without one is left out. One query."""
    wanted = sorted(set(vlan_ids))
    if not wanted:
        return {}
    statement = (
        select(Vlan.id, Vlan.rack_id, Vlan.secondary_rack_id, _Target.rack_id, _Target.secondary_rack_id)
        .outerjoin(_Target, _Target.id == Vlan.relay_vlan_id)
        .where(Vlan.id.in_(wanted))
    )
    found = {}
    for vlan_id, *racks in session.execute(statement):
        if own := tuple(rack_id for rack_id in racks if rack_id is not None):
            found[vlan_id] = own
    return found
