"""What must be true of a VLAN: who may serve it, and what a relay may lead to.  Every refusal names both sides.

* DHCP is on only where a rack answers: one with an address in one of the VLAN's subnets, or, where a relay agent brings
  the questions, one with an address on the VLAN that the agent sends to.
* A relay leads to a VLAN with racks in one step: no chains and no loops.  A relayed VLAN has no rack of its own.
* Two racks of a VLAN are partners (Kea's HA hook, hot standby).  The hook covers a whole server (Kea ARM, "Hot-Standby
  Configuration"): a standby answers nobody while its partner lives.  So a rack has one partner, and it is the secondary
  on all VLANs where it serves DHCP or on none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.services.errors import Conflict, NotFound
from app.store.models import Interface, Rack, Subnet, Vlan
from app.store.standing import Standings


def label(vlan: Vlan) -> str:
    """How messages name a VLAN."""
    return f"VLAN {vlan.name} ({vlan.vid})"


def check_racks(session: Session, vlan: Vlan, columns: Iterable[str] = ("rack_id", "secondary_rack_id")) -> None:
    """Conflict when one of the VLAN's racks has no address on it, when they are one rack, or one stands beside a relay."""
    if vlan.secondary_rack_id is not None:
        if vlan.rack_id is None:
            raise Conflict(
                f"{label(vlan)}: rack {_name(session, vlan.secondary_rack_id)} cannot be secondary where no rack is"
                " primary; set rack_id too",
                field="secondary_rack_id",
                rule="a secondary stands beside a primary",
            )
        if vlan.rack_id == vlan.secondary_rack_id:
            raise Conflict(
                f"{label(vlan)}: rack {_name(session, vlan.rack_id)} cannot be its own secondary; choose another rack",
                field="secondary_rack_id",
                rule="primary and secondary are two racks",
            )
    cidrs = list(session.scalars(select(Subnet.cidr).where(Subnet.vlan_id == vlan.id).order_by(Subnet.id)))
    for column in columns:
        rack_id = getattr(vlan, column)
        if rack_id is not None:
            _check_address(_rack(session, rack_id, column), vlan, cidrs, column)


def check_relay(session: Session, vlan: Vlan) -> None:
    """Conflict when the VLAN's relay leads nowhere, round in a circle, or on to another relay."""
    if vlan.relay_vlan_id is None:
        return
    target = session.get(Vlan, vlan.relay_vlan_id)
    if target is None:
        raise NotFound(f"there is no VLAN {vlan.relay_vlan_id}", field="relay_vlan_id")
    rule, field = "a relay leads to a VLAN with racks in one step", "relay_vlan_id"
    if target.id == vlan.id:
        raise Conflict(f"{label(vlan)} cannot be relayed to itself; choose another VLAN", field=field, rule=rule)
    if target.relay_vlan_id is not None:
        raise Conflict(
            f"{label(vlan)} cannot be relayed to {label(target)}, which is itself relayed; have the relay agent send to"
            f" the racks of VLAN {target.relay_vlan_id} at once",
            field=field,
            rule=rule,
        )
    behind = session.scalar(select(Vlan).where(Vlan.relay_vlan_id == vlan.id).order_by(Vlan.id).limit(1))
    if behind is not None:
        raise Conflict(
            f"{label(vlan)} cannot be relayed, because {label(behind)} (id {behind.id}) is relayed to it; let that one"
            f" lead to {label(target)} first",
            field=field,
            rule=rule,
        )
    for rack_id in (vlan.rack_id, vlan.secondary_rack_id):
        if rack_id is not None:
            raise Conflict(
                f"{label(vlan)}: rack {_name(session, rack_id)} serves it itself, so it is not relayed to"
                f" {label(target)} too; take the rack away (rack_id null) or the relay (relay_vlan_id null)",
                field=field,
                rule="a VLAN is served by its own racks or through a relay",
            )
    if vlan.router_advertisements:
        raise Conflict(
            f"{label(vlan)}: router advertisements do not pass the relay agent to {label(target)}; switch them off",
            field="router_advertisements",
            rule="racks advertise only where they are (RFC 4861, section 6.1.2: hop limit 255)",
        )


def check_dhcp(session: Session, vlan: Vlan) -> None:
    """Conflict when DHCP is on for the VLAN and no rack can serve it; nothing when it is off."""
    if not vlan.dhcp_on:
        return
    if vlan.relay_vlan_id is not None:
        target = session.get_one(Vlan, vlan.relay_vlan_id)
        if target.rack_id is None:
            raise Conflict(
                f"{label(vlan)}: DHCP cannot be on, because no rack serves {label(target)}, which its relay leads to;"
                " set that VLAN's rack_id first",
                field="dhcp_on",
                rule="DHCP needs a rack",
            )
        check_racks(session, target)
        return
    if vlan.rack_id is None:
        raise Conflict(
            f"{label(vlan)}: DHCP cannot be on, because no rack serves it; enrol a rack there or set rack_id first",
            field="dhcp_on",
            rule="DHCP needs a rack",
        )
    check_racks(session, vlan)
    check_partners(session, vlan)


def check_behind(session: Session, vlan: Vlan) -> None:
    """Conflict when VLANs that are relayed to this one with DHCP on would have no rack any more."""
    for behind in session.scalars(select(Vlan).where(Vlan.relay_vlan_id == vlan.id, Vlan.dhcp_on).order_by(Vlan.id)):
        check_dhcp(session, behind)


def refuse_used(session: Session, vlan_ids: list[int], what: str, rule: str) -> None:
    """Conflict while a subnet or an interface is on one of the VLANs, or another VLAN is relayed to one."""
    cidr = session.scalar(select(Subnet.cidr).where(Subnet.vlan_id.in_(vlan_ids)).order_by(Subnet.id).limit(1))
    if cidr is not None:
        raise Conflict(
            f"{what}: subnet {cidr} is on it; delete the subnet or move it first",
            rule=rule,
            remedy=f"delete subnet {cidr} or move it to another VLAN",
        )
    used = session.scalar(select(func.count()).select_from(Interface).where(Interface.vlan_id.in_(vlan_ids)))
    if used:
        raise Conflict(
            f"{what}: {used} interfaces of machines or devices are on it; move them to another VLAN or delete them first",
            rule=rule,
        )
    behind = session.scalar(
        select(Vlan).where(Vlan.relay_vlan_id.in_(vlan_ids), Vlan.id.not_in(vlan_ids)).order_by(Vlan.id).limit(1)
    )
    if behind is not None:
        raise Conflict(
            f"{what}: {label(behind)} (id {behind.id}) is relayed to it; let that one lead elsewhere first",
            rule=rule,
        )


def check_partners(session: Session, vlan: Vlan) -> None:
    """Conflict when the VLAN's racks would have more than one partner, or one that cannot do its part."""
    mine = [rack_id for rack_id in (vlan.rack_id, vlan.secondary_rack_id) if rack_id is not None]
    others = session.scalars(
        select(Vlan)
        .where(
            Vlan.id != vlan.id,
            Vlan.dhcp_on,
            Vlan.relay_vlan_id.is_(None),
            or_(Vlan.rack_id.in_(mine), Vlan.secondary_rack_id.in_(mine)),
        )
        .order_by(Vlan.id)
    ).all()
    for primary in (rack_id for rack_id in mine if _partners([vlan, *others], rack_id) > 1):
        other = next(one for one in others if _pair(one) and primary in _pair(one) and _pair(one) != _pair(vlan))
        partner = next(iter(set(_pair(vlan)) - {primary}))
        second = next(iter(set(_pair(other)) - {primary}))
        raise Conflict(
            f"{label(vlan)}: rack {_name(session, primary)} cannot be partner of rack {_name(session, partner)}, because"
            f" it is that of rack {_name(session, second)} on {label(other)} (id {other.id}), and Kea has one partner;"
            " give both VLANs the same two racks",
            field="secondary_rack_id",
            rule="a rack has one partner",
        )
    for one in [vlan, *others]:
        standby = one.secondary_rack_id
        for other in [vlan, *others] if standby is not None else ():
            if other.rack_id == standby:
                name = _name(session, standby)
                raise Conflict(
                    f"{label(vlan)}: rack {name} is the standby on {label(one)} (id {one.id}) and the primary on"
                    f" {label(other)} (id {other.id}); a standby answers nobody while its partner lives, so"
                    f" {label(other)} would get no DHCP; let {name} be secondary on both, or take it off one",
                    field="secondary_rack_id",
                    rule="a standby is primary nowhere",
                )
    for rack_id in mine if vlan.secondary_rack_id is not None else ():
        rack = _rack(session, rack_id, "secondary_rack_id")
        if rack.dhcp_server != "kea":
            raise Conflict(
                f"{label(vlan)}: rack {rack.name} runs {rack.dhcp_server}, and only Kea racks can be partners; move the"
                " rack to Kea or take the secondary away",
                field="secondary_rack_id",
                rule="partners run Kea",
            )


def _pair(vlan: Vlan) -> frozenset[int]:
    if vlan.rack_id is None or vlan.secondary_rack_id is None:
        return frozenset()
    return frozenset((vlan.rack_id, vlan.secondary_rack_id))


def _partners(vlans: Sequence[Vlan], rack_id: int) -> int:
    """How many partners a rack has on these VLANs."""
    return len({other for vlan in vlans for other in _pair(vlan) if rack_id in _pair(vlan)} - {rack_id})


def _check_address(rack: Rack, vlan: Vlan, cidrs: list[str], field: str) -> None:
    if Standings(rack.interfaces).on(cidrs) is None:
        where = f"its subnets ({', '.join(cidrs)})" if cidrs else "it: the VLAN has no subnet yet"
        raise Conflict(
            f"{label(vlan)} cannot be served by rack {rack.name}, which has no address in {where}; give one of the"
            " rack's interfaces an address there, choose another rack, or set relay_vlan_id if a relay agent brings"
            " its DHCP",
            field=field,
            rule="a rack serves a VLAN from an address in it",
        )


def _rack(session: Session, rack_id: int, field: str) -> Rack:
    rack = session.get(Rack, rack_id)
    if rack is None:
        raise NotFound(f"there is no rack {rack_id}", field=field)
    return rack


def _name(session: Session, rack_id: int | None) -> str:
    rack = session.get(Rack, rack_id) if rack_id is not None else None
    return rack.name if rack is not None else f"{rack_id}"
