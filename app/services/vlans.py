"""VLANs: broadcast domains. DHCP is switched on here, and only where a rack can answer (`app.services.vlan_rules`)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.services import versions, vlan_rules
from app.services.changes import audit, changing, touch_racks, touch_vlans
from app.services.context import Context
from app.services.discovery import adopt_vlan
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK, default_fabric, fabric_row, new_fabric, remove_vlan
from app.services.name_servers import put_name_servers
from app.services.rack_interfaces import attach_all
from app.services.spaces import space_row
from app.store.locks import hold
from app.store.models import Rack, Vlan
from app.store.queries.page import page

CHANGEABLE = (
    "fabric_id", "vid", "name", "mtu", "dhcp_on", "router_advertisements", "rack_id", "secondary_rack_id",
    "relay_vlan_id", "space_id",
)  # fmt: skip
SERVED_BY = ("rack_id", "secondary_rack_id", "relay_vlan_id")
LIMITS = {"vid": (0, 4094), "mtu": (552, 65535)}


def find(
    context: Context,
    fabric_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    *,
    vid: int | None = None,
    rack_id: int | None = None,
    secondary_rack_id: int | None = None,
    relay_vlan_id: int | None = None,
    space_id: int | None = None,
    dhcp_on: bool | None = None,
    name: str | None = None,
) -> list[Vlan]:
    """A page of VLANs by id, with their fabrics and spaces; only those that are as asked."""
    statement = select(Vlan).options(*_whole())
    wanted = {
        "fabric_id": fabric_id,
        "vid": vid,
        "rack_id": rack_id,
        "secondary_rack_id": secondary_rack_id,
        "relay_vlan_id": relay_vlan_id,
        "space_id": space_id,
        "dhcp_on": dhcp_on,
        "name": name,
    }
    statement = statement.filter_by(**{column: value for column, value in wanted.items() if value is not None})
    with context.store.read() as session:
        return list(session.scalars(page(statement, Vlan.id, after, limit)))


def get(context: Context, vlan_id: int) -> Vlan:
    """One VLAN with its fabric and space. NotFound when there is none."""
    with context.store.read() as session:
        return vlan_row(session, vlan_id)


def create(
    context: Context,
    fabric_id: int | None,
    vid: int,
    name: str | None = None,
    mtu: int = 1500,
    *,
    space_id: int | None = None,
    relay_vlan_id: int | None = None,
) -> Vlan:
    """A new VLAN of a fabric (None: the default one). Conflict when the fabric has that tag already.

    Racks are set later, when it has a subnet in which they have an address.
    """
    context.require("admin", "add a VLAN")
    _check_limits({"vid": vid, "mtu": mtu})
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        fabric = fabric_row(session, fabric_id) if fabric_id is not None else default_fabric(session, context)
        _tag_is_free(session, fabric.id, vid)
        if space_id is not None:
            space_row(session, space_id)
        vlan = Vlan(fabric_id=fabric.id, vid=vid, name=name or f"vlan-{vid}", mtu=mtu)
        vlan.space_id, vlan.relay_vlan_id, vlan.fabric = space_id, relay_vlan_id, fabric
        if relay_vlan_id is not None and session.get(Vlan, relay_vlan_id) is None:
            raise NotFound(f"there is no VLAN {relay_vlan_id}", field="relay_vlan_id")
        session.add(vlan)
        session.flush()
        vlan_rules.check_relay(session, vlan)
        audit(session, context, "create", "vlan", vlan.id, fabric=fabric.name, vid=vid)
        return vlan


def update(context: Context, vlan_id: int, **changes: Any) -> Vlan:
    """Change a VLAN: what CHANGEABLE names.

    Conflict when it would be served by a rack that has no address on it, or break another rule of `vlan_rules`.
    """
    context.require("admin", "change a VLAN")
    refuse_unknown("a VLAN", changes, CHANGEABLE)
    _check_limits(changes)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        vlan = vlan_row(session, vlan_id)
        versions.check(context, vlan, vlan_rules.label(vlan))
        _check_place(session, vlan, changes)
        before = {name: getattr(vlan, name) for name in changes}
        changed = {name: [before[name], value] for name, value in changes.items() if before[name] != value}
        touch_vlans(session, [vlan_id])
        for name, value in changes.items():
            setattr(vlan, name, value)
        session.flush()
        session.refresh(vlan, ["fabric", "space"])
        if (vlan.dhcp_on or {"rack_id", "secondary_rack_id"} & set(changed)) and adopt_vlan(session, vlan_id):
            attach_all(session, context)
            session.refresh(vlan)
        vlan_rules.check_relay(session, vlan)
        vlan_rules.check_racks(session, vlan, [name for name in SERVED_BY[:2] if name in changed])
        vlan_rules.check_dhcp(session, vlan)
        if served := [name for name in SERVED_BY if name in changed]:
            vlan_rules.check_behind(session, vlan)
            if served != ["secondary_rack_id"]:
                # Reverse zones exist only for served VLANs, so every name server may gain or lose one.
                touch_racks(session, session.scalars(select(Rack.id)))
                put_name_servers(session)
        touch_vlans(session, [vlan_id])
        audit(session, context, "update", "vlan", vlan.id, **changed)
        return vlan


def delete(context: Context, vlan_id: int) -> None:
    """Delete a VLAN. Conflict while something is on it or relayed to it, and for a fabric's untagged VLAN."""
    context.require("admin", "delete a VLAN")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        vlan = vlan_row(session, vlan_id)
        versions.check(context, vlan, vlan_rules.label(vlan))
        if vlan.vid == 0:
            raise Conflict(
                f"VLAN {vlan.name} is the untagged one of {vlan.fabric.name}; delete the fabric instead",
                rule="a fabric has an untagged VLAN",
            )
        vlan_rules.refuse_used(session, [vlan_id], vlan_rules.label(vlan), "a VLAN in use stays")
        touch_vlans(session, [vlan_id])
        audit(session, context, "delete", "vlan", vlan.id, vid=vlan.vid, fabric=vlan.fabric.name)
        remove_vlan(session, vlan)


def vlan_for(session: Session, context: Context, vlan_id: int | None, fabric_name: str | None = None) -> Vlan:
    """The VLAN that a new thing joins: the one named, else the untagged one of the new fabric or of the default one."""
    if vlan_id is not None:
        if fabric_name is not None:
            raise Invalid(
                f"fabric {fabric_name} would be a new one, and VLAN {vlan_id} is of another; name one of the two",
                field="fabric",
                rule="a subnet is on one VLAN",
            )
        return vlan_row(session, vlan_id)
    fabric = new_fabric(session, context, fabric_name) if fabric_name is not None else default_fabric(session, context)
    found = session.scalars(select(Vlan.id).where(Vlan.fabric_id == fabric.id, Vlan.vid == 0)).one()
    return vlan_row(session, found)


def vlan_row(session: Session, vlan_id: int) -> Vlan:
    """The VLAN with its fabric and space, inside an open transaction. NotFound when there is none."""
    vlan = session.get(Vlan, vlan_id, options=_whole())
    if vlan is None:
        raise NotFound(f"there is no VLAN {vlan_id}", field="vlan_id")
    return vlan


def refuse_unknown(thing: str, changes: dict[str, Any], known: tuple[str, ...]) -> None:
    """Invalid when something is asked to change that cannot."""
    for name in changes:
        if name not in known:
            raise Invalid(f"{name} of {thing} cannot be changed; what can: {', '.join(known)}", field=name)


def _whole() -> list[Any]:
    return [selectinload(Vlan.fabric), selectinload(Vlan.space)]


def _check_place(session: Session, vlan: Vlan, changes: dict[str, Any]) -> None:
    """Conflict when the VLAN cannot have this tag in this fabric; NotFound for a space that is none."""
    vid, fabric_id = changes.get("vid", vlan.vid), changes.get("fabric_id", vlan.fabric_id)
    if (vid, fabric_id) != (vlan.vid, vlan.fabric_id):
        if vlan.vid == 0:
            raise Conflict(
                f"VLAN {vlan.name} is the untagged one of {vlan.fabric.name} and stays it; make another VLAN, or merge"
                " the fabrics",
                field="vid" if vid != vlan.vid else "fabric_id",
                rule="a fabric has an untagged VLAN",
            )
        fabric_row(session, fabric_id)
        _tag_is_free(session, fabric_id, vid)
    if changes.get("space_id") is not None:
        space_row(session, changes["space_id"])


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
