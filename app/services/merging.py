"""Two fabrics or two VLANs that turn out to be one: what is on the one moves to the other, and the one is gone.

Subnets move with their ranges, addresses, hosts and names; interfaces, snippets and VLANs that are relayed move too.
Of two fabrics, VLANs of the same tag become one.  A VLAN that nothing is on gives way: the merged one is as the other
was.  Where both are in use they must agree on what one broadcast domain has once (MTU, racks, relay, space), else the
merge is refused and names both.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import vlan_rules
from app.services.changes import audit, changing, touch_racks, touch_vlans
from app.services.context import Context
from app.services.errors import Conflict, Invalid
from app.services.fabrics import NETWORK_LOCK, fabric_row, remove, remove_vlan
from app.services.records import move_scope
from app.services.subnets import address_lock
from app.services.vlans import vlan_row
from app.store.locks import hold
from app.store.models import DhcpSnippet, Fabric, Interface, Rack, Subnet, Vlan

SETTINGS = ("mtu", "dhcp_on", "router_advertisements", "rack_id", "secondary_rack_id", "relay_vlan_id", "space_id")
ONCE = {"mtu": "MTU", "relay_vlan_id": "relay", "space_id": "space"}
"""What a broadcast domain has once, and how messages call it; its racks are checked as a pair."""


def fabrics(context: Context, fabric_id: int, into_id: int) -> Fabric:
    """Merge one fabric into another, which stays. Conflict names the VLANs that cannot be one."""
    context.require("admin", "merge fabrics")
    _refuse_itself("fabric", fabric_id, into_id)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        gone, kept = fabric_row(session, fabric_id), fabric_row(session, into_id)
        there = {vlan.vid: vlan for vlan in session.scalars(select(Vlan).where(Vlan.fabric_id == into_id))}
        moved = []
        for vlan in session.scalars(select(Vlan).where(Vlan.fabric_id == fabric_id).order_by(Vlan.vid)).all():
            moved.append(vlan.vid)
            if vlan.vid in there:
                _merge(session, context, vlan_row(session, vlan.id), there[vlan.vid])
            else:
                vlan.fabric_id = into_id
                session.flush()
        audit(session, context, "merge", "fabric", into_id, name=kept.name, merged=gone.name, vids=moved)
        kept.found = kept.found and gone.found
        session.expire(gone)
        remove(session, gone)
        return kept


def vlans(context: Context, vlan_id: int, into_id: int) -> Vlan:
    """Merge one VLAN into another, which stays. Conflict for a fabric's untagged VLAN, which has to stay."""
    context.require("admin", "merge VLANs")
    _refuse_itself("VLAN", vlan_id, into_id)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        gone, kept = vlan_row(session, vlan_id), vlan_row(session, into_id)
        if gone.vid == 0:
            raise Conflict(
                f"{vlan_rules.label(gone)} is the untagged one of {gone.fabric.name} and stays it; merge"
                f" {vlan_rules.label(kept)} into it, or the fabric {gone.fabric.name} into {kept.fabric.name}",
                field="into_id",
                rule="a fabric has an untagged VLAN",
            )
        _merge(session, context, gone, kept)
        session.refresh(kept, ["fabric", "space"])
        return kept


def _merge(session: Session, context: Context, gone: Vlan, kept: Vlan) -> None:
    """Move everything from one VLAN to another and delete it."""
    subnet_ids = list(
        session.scalars(select(Subnet.id).where(Subnet.vlan_id.in_((gone.id, kept.id))).order_by(Subnet.id))
    )
    for subnet_id in subnet_ids:
        hold(session, address_lock(subnet_id))
    touch_vlans(session, [gone.id, kept.id])
    settings = _settings(session, gone, kept)
    audit(
        session, context, "merge", "vlan", kept.id, fabric_id=kept.fabric_id, vid=kept.vid, merged=gone.id,
        merged_vid=gone.vid,
    )  # fmt: skip
    for table in (Subnet, Interface, DhcpSnippet):
        session.execute(sa.update(table).where(table.vlan_id == gone.id).values(vlan_id=kept.id))
    session.execute(
        sa.update(Vlan).where(Vlan.relay_vlan_id == gone.id, Vlan.id != kept.id).values(relay_vlan_id=kept.id)
    )
    for name, value in settings.items():
        setattr(kept, name, value)
    if kept.relay_vlan_id == gone.id:
        kept.relay_vlan_id = None
    move_scope(session, f"vlan:{gone.id}", f"vlan:{kept.id}")
    session.flush()
    session.expire_all()
    remove_vlan(session, gone)
    vlan_rules.check_relay(session, kept)
    vlan_rules.check_dhcp(session, kept)
    vlan_rules.check_behind(session, kept)
    touch_vlans(session, [kept.id])
    # Reverse zones exist only for served VLANs, so every name server may gain or lose one.
    touch_racks(session, session.scalars(select(Rack.id)))


def _settings(session: Session, gone: Vlan, kept: Vlan) -> dict[str, Any]:
    """What the merged VLAN is like. Conflict where both are in use and do not agree."""
    here, there = ({name: getattr(vlan, name) for name in SETTINGS} for vlan in (kept, gone))
    if not _is_used(session, gone):
        return here
    if not _is_used(session, kept):
        return there
    for name, word in ONCE.items():
        if None not in (here[name], there[name]) and here[name] != there[name]:
            raise Conflict(
                f"{vlan_rules.label(gone)} cannot be merged into {vlan_rules.label(kept)}: the {word} of the one is"
                f" {there[name]} and that of the other {here[name]}; make them the same first",
                field="into_id",
                rule=f"one broadcast domain has one {word}",
            )
    racks = (kept.rack_id, kept.secondary_rack_id), (gone.rack_id, gone.secondary_rack_id)
    if None not in (kept.rack_id, gone.rack_id) and racks[0] != racks[1]:
        names = dict(session.execute(select(Rack.id, Rack.name)).tuples().all())
        said = [" and ".join(names[one] for one in pair if one is not None) for pair in racks]
        raise Conflict(
            f"{vlan_rules.label(gone)} cannot be merged into {vlan_rules.label(kept)}: the one is served by {said[1]} and"
            f" the other by {said[0]}; give both the same racks, or take them away from one",
            field="into_id",
            rule="one broadcast domain has one primary and one secondary",
        )
    served = here if kept.rack_id is not None or gone.rack_id is None else there
    return {
        "mtu": here["mtu"],
        "dhcp_on": here["dhcp_on"] or there["dhcp_on"],
        "router_advertisements": here["router_advertisements"] or there["router_advertisements"],
        "rack_id": served["rack_id"],
        "secondary_rack_id": served["secondary_rack_id"],
        "relay_vlan_id": here["relay_vlan_id"] or there["relay_vlan_id"],
        "space_id": here["space_id"] or there["space_id"],
    }


def _is_used(session: Session, vlan: Vlan) -> bool:
    """Whether a subnet or an interface is on it."""
    return any(
        session.scalar(select(table.id).where(table.vlan_id == vlan.id).limit(1)) is not None
        for table in (Subnet, Interface)
    )


def _refuse_itself(word: str, one_id: int, into_id: int) -> None:
    if one_id == into_id:
        raise Invalid(
            f"{word} {one_id} cannot be merged into itself; choose another", field="into_id", rule="two are merged"
        )
