"""VLANs: broadcast domains. DHCP is switched on here, and only where a rack has an address to answer from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from app.services import versions
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK, fabric_row
from app.services.racks import rack_row
from app.services.records import resend_scope
from app.store.locks import hold
from app.store.models import Interface, IpAddress, Rack, Subnet, Vlan
from app.store.queries.page import page

CHANGEABLE = ("vid", "name", "mtu", "dhcp_on", "router_advertisements", "rack_id")
LIMITS = {"vid": (0, 4094), "mtu": (552, 65535)}


def find(
    context: Context,
    fabric_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    *,
    vid: int | None = None,
    rack_id: int | None = None,
    dhcp_on: bool | None = None,
    name: str | None = None,
) -> list[Vlan]:
    """A page of VLANs by id, with their fabrics; only those that are as asked."""
    statement = select(Vlan).options(selectinload(Vlan.fabric))
    wanted = {"fabric_id": fabric_id, "vid": vid, "rack_id": rack_id, "dhcp_on": dhcp_on, "name": name}
    statement = statement.filter_by(**{column: value for column, value in wanted.items() if value is not None})
    with context.store.read() as session:
        return list(session.scalars(page(statement, Vlan.id, after, limit)))


def get(context: Context, vlan_id: int) -> Vlan:
    """One VLAN with its fabric. NotFound when there is none."""
    with context.store.read() as session:
        return vlan_row(session, vlan_id)


def create(context: Context, fabric_id: int, vid: int, name: str | None = None, mtu: int = 1500) -> Vlan:
    """A new VLAN of a fabric. Conflict when the fabric has that tag already."""
    context.require("admin", "add a VLAN")
    _check_limits({"vid": vid, "mtu": mtu})
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        fabric = fabric_row(session, fabric_id)
        _tag_is_free(session, fabric_id, vid)
        vlan = Vlan(fabric_id=fabric_id, vid=vid, name=name or f"vlan-{vid}", mtu=mtu)
        vlan.fabric = fabric
        session.add(vlan)
        session.flush()
        audit(session, context, "create", "vlan", vlan.id, fabric=fabric.name, vid=vid)
        return vlan


def update(context: Context, vlan_id: int, **changes: Any) -> Vlan:
    """Change a VLAN: vid, name, mtu, dhcp_on, router_advertisements, rack_id.

    Conflict when DHCP would be on without a rack that has an address in one of the VLAN's IPv4 subnets.
    """
    context.require("admin", "change a VLAN")
    refuse_unknown("a VLAN", changes, CHANGEABLE)
    _check_limits(changes)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        vlan = vlan_row(session, vlan_id)
        versions.check(context, vlan, f"VLAN {vlan.name} ({vlan.vid})")
        if changes.get("vid", vlan.vid) != vlan.vid:
            _tag_is_free(session, vlan.fabric_id, changes["vid"])
        if changes.get("rack_id") is not None:
            rack_row(session, changes["rack_id"])
        before = {name: getattr(vlan, name) for name in changes}
        touch_racks(session, [vlan.rack_id])
        for name, value in changes.items():
            setattr(vlan, name, value)
        session.flush()
        if vlan.dhcp_on:
            check_dhcp(session, vlan)
        if changes.get("rack_id", before.get("rack_id")) != before.get("rack_id"):
            resend_scope(session, f"vlan:{vlan.id}")
            # Reverse zones exist only for served VLANs, so every name server may gain or lose one.
            touch_racks(session, session.scalars(select(Rack.id)))
        touch_racks(session, [vlan.rack_id])
        changed = {name: [before[name], value] for name, value in changes.items() if before[name] != value}
        audit(session, context, "update", "vlan", vlan.id, **changed)
        return vlan


def delete(context: Context, vlan_id: int) -> None:
    """Delete a VLAN. Conflict while a subnet or a machine's interface is on it, and for a fabric's untagged VLAN."""
    context.require("admin", "delete a VLAN")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        vlan = vlan_row(session, vlan_id)
        versions.check(context, vlan, f"VLAN {vlan.name} ({vlan.vid})")
        if vlan.vid == 0:
            raise Conflict(
                f"VLAN {vlan.name} is the untagged one of {vlan.fabric.name}; delete the fabric instead",
                rule="a fabric has an untagged VLAN",
            )
        cidr = session.scalar(select(Subnet.cidr).where(Subnet.vlan_id == vlan_id).order_by(Subnet.id).limit(1))
        if cidr is not None:
            raise Conflict(
                f"VLAN {vlan.name} ({vlan.vid}): subnet {cidr} is on it; delete the subnet or move it first",
                rule="a VLAN in use stays",
            )
        used = session.scalar(select(func.count()).select_from(Interface).where(Interface.vlan_id == vlan_id))
        if used:
            raise Conflict(
                f"VLAN {vlan.name} ({vlan.vid}): {used} machine interfaces are on it; delete those machines first",
                rule="a VLAN in use stays",
            )
        touch_racks(session, [vlan.rack_id])
        audit(session, context, "delete", "vlan", vlan.id, vid=vlan.vid)
        session.delete(vlan)


def vlan_row(session: Session, vlan_id: int) -> Vlan:
    """The VLAN with its fabric, inside an open transaction. NotFound when there is none."""
    vlan = session.get(Vlan, vlan_id, options=[selectinload(Vlan.fabric)])
    if vlan is None:
        raise NotFound(f"there is no VLAN {vlan_id}", field="vlan_id")
    return vlan


def check_dhcp(session: Session, vlan: Vlan) -> None:
    """Conflict unless the VLAN's rack has an address in one of the VLAN's IPv4 subnets."""
    label = f"VLAN {vlan.name} ({vlan.vid})"
    if vlan.rack_id is None:
        raise Conflict(
            f"{label}: DHCP cannot be on, because no rack serves it; enrol a rack there or set rack_id first",
            field="dhcp_on",
            rule="DHCP needs a rack",
        )
    subnets = {
        subnet_id: cidr
        for subnet_id, cidr in session.execute(select(Subnet.id, Subnet.cidr).where(Subnet.vlan_id == vlan.id))
        if ":" not in cidr
    }
    statement = select(IpAddress.id).where(
        IpAddress.rack_id == vlan.rack_id, IpAddress.kind == "rack", IpAddress.subnet_id.in_(subnets)
    )
    if session.scalar(statement.limit(1)) is None:
        rack = rack_row(session, vlan.rack_id)
        where = ", ".join(subnets.values()) or "none of its own: it has no IPv4 subnet"
        raise Conflict(
            f"{label}: DHCP cannot be on, because rack {rack.name} has no address in its subnets ({where}); give the"
            " rack's interface an address there, or leave DHCP off",
            field="dhcp_on",
            rule="DHCP needs a rack with an address in the subnet",
        )


def refuse_unknown(thing: str, changes: dict[str, Any], known: tuple[str, ...]) -> None:
    """Invalid when something is asked to change that cannot."""
    for name in changes:
        if name not in known:
            raise Invalid(f"{name} of {thing} cannot be changed; what can: {', '.join(known)}", field=name)


def _check_limits(values: dict[str, Any]) -> None:
    for name, (low, high) in LIMITS.items():
        if name in values and not low <= values[name] <= high:
            raise Invalid(f"{name} {values[name]}: use {low} to {high}", field=name, rule=f"{low} <= {name} <= {high}")


def _tag_is_free(session: Session, fabric_id: int, vid: int) -> None:
    name = session.scalar(select(Vlan.name).where(Vlan.fabric_id == fabric_id, Vlan.vid == vid))
    if name is not None:
        raise Conflict(
            f"vid {vid}: VLAN {name} of this fabric has it; choose another tag", field="vid", rule="tags differ"
        )
