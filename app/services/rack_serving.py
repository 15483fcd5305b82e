"""Which VLANs a rack serves, on which interface, and why on that one (the rule is in `app.store.standing`)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.store.ha_intent import unable
from app.store.models import Rack, Subnet, Vlan
from app.store.queries.serving import served_by
from app.store.standing import Standing, Standings


@dataclass(frozen=True)
class Served:
    """One VLAN that a rack serves. role: primary, secondary or relay; partner: the VLAN's other rack.

    interface: None when the rack cannot serve it, and then `reason` says why.
    """

    vlan_id: int
    name: str
    vid: int
    fabric: str
    role: str
    dhcp_on: bool
    interface: str | None
    kind: str | None
    addresses: list[str]
    reason: str
    partner: str | None


def of_rack(session: Session, rack: Rack) -> list[Served]:
    """The VLANs of a rack by id. Four queries."""
    statement = select(Vlan).where(served_by(rack.id)).options(selectinload(Vlan.fabric)).order_by(Vlan.id)
    vlans = {vlan.id: vlan for vlan in session.scalars(statement)}
    cidrs = defaultdict(list)
    subnets = select(Subnet.vlan_id, Subnet.cidr).where(Subnet.vlan_id.in_(vlans)).order_by(Subnet.id)
    for vlan_id, cidr in session.execute(subnets):
        cidrs[vlan_id].append(cidr)
    others = {one for vlan in vlans.values() for one in (vlan.rack_id, vlan.secondary_rack_id) if one is not None}
    racks = {one.id: one for one in session.scalars(select(Rack).where(Rack.id.in_(others)))}
    standings = Standings(rack.interfaces)
    return [_served(rack, vlan, vlans, cidrs, racks, standings) for vlan in vlans.values()]


def _served(
    rack: Rack,
    vlan: Vlan,
    vlans: dict[int, Vlan],
    cidrs: dict[int, list[str]],
    racks: dict[int, Rack],
    standings: Standings,
) -> Served:
    at = vlans[vlan.relay_vlan_id] if vlan.relay_vlan_id is not None else vlan
    standing = standings.on(cidrs[at.id])
    pair = [racks[one] for one in (at.rack_id, at.secondary_rack_id) if one is not None]
    role = "secondary" if at.secondary_rack_id == rack.id else "primary"
    return Served(
        vlan_id=vlan.id,
        name=vlan.name,
        vid=vlan.vid,
        fabric=vlan.fabric.name,
        role=role if at is vlan else "relay",
        dhcp_on=vlan.dhcp_on,
        interface=standing.interface if standing else None,
        kind=standing.kind if standing else None,
        addresses=sorted(standing.addresses.values(), key=lambda address: ":" in address) if standing else [],
        reason=_reason(vlan, at, standing, cidrs[at.id], role, pair),
        partner=next((one.name for one in pair if one.id != rack.id), None),
    )


def _reason(vlan: Vlan, at: Vlan, standing: Standing | None, cidrs: list[str], role: str, pair: list[Rack]) -> str:
    """Why it is served so, or not at all; a whole sentence."""
    if standing is None:
        where = ", ".join(cidrs) or "none: the VLAN has no subnet"
        return f"no interface has an address in its subnets ({where}); give one an address there, or change the racks"
    words = standing.reason
    if at is not vlan:
        words = f"a relay agent brings its DHCP to VLAN {at.name} ({at.vid}), where {words}"
    if len(pair) == 2 and (trouble := unable(pair[0], pair[1])) is not None:
        alone = "it serves no DHCP there" if role == "secondary" else "it serves DHCP alone"
        words = f"{words}; {alone}, because {trouble}"
    return words
