"""Fabrics: sets of VLANs that reach each other at layer 2.

A new fabric has its untagged VLAN from the start, and keeps it; new things join that of the default fabric (the oldest
one) unless told otherwise, so there is no VLAN without a fabric and no subnet without a VLAN.
"""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import versions, vlan_rules
from app.services.changes import audit, changing, touch_vlans
from app.services.context import Context
from app.services.errors import Conflict, NotFound
from app.services.names import check_label
from app.services.records import forget_scope
from app.store.locks import hold
from app.store.models import Fabric, Vlan
from app.store.queries.page import page

NETWORK_LOCK = "network"


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    name: str | None = None,
    found: bool | None = None,
) -> list[Fabric]:
    """A page of fabrics by id; only those that are as asked. found: by a report, not by a person."""
    statement = select(Fabric)
    if name is not None:
        statement = statement.where(Fabric.name == name)
    if found is not None:
        statement = statement.where(Fabric.found.is_(found))
    with context.store.read() as session:
        return list(session.scalars(page(statement, Fabric.id, after, limit)))


def get(context: Context, fabric_id: int) -> Fabric:
    """One fabric. NotFound when there is none."""
    with context.store.read() as session:
        return fabric_row(session, fabric_id)


def create(context: Context, name: str | None = None, description: str = "") -> Fabric:
    """A new fabric with an untagged VLAN; `fabric-N` without a name. Conflict when the name is taken."""
    context.require("admin", "add a fabric")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        return new_fabric(session, context, name, description)


def update(context: Context, fabric_id: int, *, name: str | None = None, description: str | None = None) -> Fabric:
    """Rename or describe a fabric."""
    context.require("admin", "change a fabric")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        fabric = fabric_row(session, fabric_id)
        versions.check(context, fabric, f"fabric {fabric.name}")
        changed = {}
        if name is not None and (name := check_label(name, "fabric")) != fabric.name:
            _name_is_free(session, name)
            changed["name"] = [fabric.name, name]
            fabric.name = name
        if description is not None and description != fabric.description:
            changed["description"] = [fabric.description, description]
            fabric.description = description
        if changed:
            audit(session, context, "update", "fabric", fabric.id, **changed)
        return fabric


def delete(context: Context, fabric_id: int) -> None:
    """Delete a fabric and its VLANs. Conflict while something is on one of them, or relayed to one."""
    context.require("admin", "delete a fabric")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        fabric = fabric_row(session, fabric_id)
        versions.check(context, fabric, f"fabric {fabric.name}")
        vlans = session.scalars(select(Vlan).where(Vlan.fabric_id == fabric_id)).all()
        vlan_ids = [vlan.id for vlan in vlans]
        vlan_rules.refuse_used(session, vlan_ids, f"fabric {fabric.name}", "a fabric in use stays")
        touch_vlans(session, vlan_ids)
        audit(session, context, "delete", "fabric", fabric.id, name=fabric.name)
        remove(session, fabric)


def new_fabric(
    session: Session, context: Context, name: str | None = None, description: str = "", *, found: bool = False
) -> Fabric:
    """A fabric with its untagged VLAN, inside a transaction that holds NETWORK_LOCK. Conflict when the name is taken."""
    name = check_label(name, "fabric") if name is not None else _free_name(session)
    _name_is_free(session, name)
    fabric = Fabric(name=name, description=description, found=found)
    session.add(fabric)
    session.flush()
    session.add(Vlan(fabric_id=fabric.id, vid=0, name="untagged"))
    session.flush()
    audit(session, context, "create", "fabric", fabric.id, name=name, **({"found": True} if found else {}))
    return fabric


def default_fabric(session: Session, context: Context) -> Fabric:
    """The fabric that new things join: the oldest one; made when there is none."""
    fabric = session.scalar(select(Fabric).order_by(Fabric.id).limit(1))
    return fabric if fabric is not None else new_fabric(session, context)


def remove(session: Session, fabric: Fabric) -> None:
    """Delete the row of a fabric, and its VLANs, which nothing uses."""
    vlans = session.scalars(select(Vlan).where(Vlan.fabric_id == fabric.id)).all()
    for vlan in sorted(vlans, key=lambda vlan: vlan.relay_vlan_id is None):
        remove_vlan(session, vlan)
    session.delete(fabric)
    session.flush()


def remove_vlan(session: Session, vlan: Vlan) -> None:
    """Delete the row of a VLAN that nothing uses, with what is left of its records."""
    forget_scope(session, f"vlan:{vlan.id}")
    session.delete(vlan)
    session.flush()


def fabric_row(session: Session, fabric_id: int) -> Fabric:
    """The fabric, inside an open transaction. NotFound when there is none."""
    fabric = session.get(Fabric, fabric_id)
    if fabric is None:
        raise NotFound(f"there is no fabric {fabric_id}", field="fabric_id")
    return fabric


def _free_name(session: Session) -> str:
    """`fabric-N`, N above every one that there is."""
    taken = session.scalars(select(Fabric.name).where(Fabric.name.startswith("fabric-")))
    numbers = [int(found.group(1)) for name in taken if (found := re.fullmatch(r"fabric-(\d{1,9})", name))]
    return f"fabric-{max(numbers, default=-1) + 1}"


def _name_is_free(session: Session, name: str) -> None:
    if session.scalar(select(Fabric.id).where(Fabric.name == name)) is not None:
        raise Conflict(f"fabric {name}: the name is taken; choose another", field="name", rule="fabric names differ")
