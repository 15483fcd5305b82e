"""The partner of a rack whose VLANs have two racks, as far as both are able: see `renderers.dhcp.kea_ha`.

A secondary without the hook, or whose partner has none, serves no DHCP at all: two servers that do not know of each
other would give one address to two machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import Rack, Subnet, Vlan
from app.store.queries.serving import served_by
from app.store.standing import Standings
from renderers.intent import HaIntent, HaPeerIntent, RackIntent


def with_partner(
    session: Session, intent: RackIntent, rack: Rack, racks: dict[int, Rack], vlans: Sequence[Vlan]
) -> RackIntent:
    """The intent with its partner, if it has one that can; without DHCP where the rack is secondary and cannot."""
    shared = [
        vlan for vlan in vlans if vlan.dhcp_on and vlan.rack_id is not None and vlan.secondary_rack_id is not None
    ]
    if not shared:
        return intent
    first = shared[0]
    primary, standby = racks[first.rack_id or 0], racks[first.secondary_rack_id or 0]
    by_family = {family: _addresses(intent, shared, (primary, standby), family) for family in (4, 6)}
    addresses = by_family[4] or by_family[6]
    if unable(primary, standby) is not None or addresses is None:
        return _silent(intent, vlans, rack)
    return replace(
        intent,
        ha=HaIntent(
            name=rack.name,
            peers=tuple(
                HaPeerIntent(one.name, address, one.id == primary.id, one.ha_certificate or "")
                for one, address in zip((primary, standby), addresses, strict=True)
            ),
            lease_only=_lease_only(session, intent, primary) if rack.id == standby.id else (),
            dhcp4=by_family[4] is not None,
            dhcp6=by_family[6] is not None,
        ),
    )


def unable(primary: Rack, standby: Rack) -> str | None:
    """Why these racks cannot be partners now, as a part of a sentence; None if they can."""
    for one in (primary, standby):
        if one.dhcp_server != "kea":
            return f"rack {one.name} runs {one.dhcp_server}"
        if not one.layout.get("kea_lease_hook"):
            return f"rack {one.name} has no hooks of Kea (libdhcp_lease_cmds.so)"
        if not one.ha_certificate:
            return f"rack {one.name} has not told its certificate yet"
    return None


def _addresses(
    intent: RackIntent, shared: Sequence[Vlan], pair: tuple[Rack, Rack], family: int
) -> tuple[str, str] | None:
    """An address of each in one subnet of this family of a VLAN that both serve."""
    cidrs = {vlan.vlan_id: [sub.cidr for sub in vlan.subnets if sub.family == family] for vlan in intent.vlans}
    for vlan in shared:
        for cidr in cidrs.get(vlan.id, ()):
            one, other = (Standings(rack.interfaces).on([cidr]) for rack in pair)
            if one is not None and other is not None:
                return one.addresses[cidr], other.addresses[cidr]
    return None


def _lease_only(session: Session, intent: RackIntent, primary: Rack) -> tuple[tuple[int, str], ...]:
    """The subnets on which the primary serves DHCP and the standby does not."""
    own = {
        subnet.subnet_id
        for vlan in intent.vlans
        if vlan.dhcp_on
        for subnet in vlan.subnets
        if subnet.rack_address is not None
    }
    statement = (
        select(Subnet.id, Subnet.cidr)
        .join(Vlan, Vlan.id == Subnet.vlan_id)
        .where(served_by(primary.id), Vlan.dhcp_on)
        .order_by(Subnet.id)
    )
    return tuple((row.id, row.cidr) for row in session.execute(statement) if row.id not in own)


def _silent(intent: RackIntent, vlans: Sequence[Vlan], rack: Rack) -> RackIntent:
    """No DHCP where the rack is secondary, also through a relay."""
    secondary = {vlan.id for vlan in vlans if vlan.secondary_rack_id == rack.id}
    secondary |= {vlan.id for vlan in vlans if vlan.relay_vlan_id in secondary}
    return replace(
        intent,
        vlans=tuple(
            replace(
                vlan,
                dhcp_on=vlan.dhcp_on and vlan.vlan_id not in secondary,
            )
            for vlan in intent.vlans
        ),
    )
