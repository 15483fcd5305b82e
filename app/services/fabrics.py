"""Fabrics: sets of VLANs that reach each other at layer 2. A new fabric has its untagged VLAN from the start."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services import versions
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, NotFound
from app.services.names import check_label
from app.store.locks import hold
from app.store.models import Fabric, Interface, Subnet, Vlan
from app.store.queries.page import page

NETWORK_LOCK = "network"


def find(
    context: Context, after: int | None = None, limit: int | None = None, *, name: str | None = None
) -> list[Fabric]:
    """A page of fabrics by id; the one of a name when it is given."""
    statement = select(Fabric)
    if name is not None:
        statement = statement.where(Fabric.name == name)
    with context.store.read() as session:
        return list(session.scalars(page(statement, Fabric.id, after, limit)))


def get(context: Context, fabric_id: int) -> Fabric:
    """One fabric. NotFound when there is none."""
    with context.store.read() as session:
        return fabric_row(session, fabric_id)


def create(context: Context, name: str) -> Fabric:
    """A new fabric with an untagged VLAN. Conflict when the name is taken."""
    context.require("admin", "add a fabric")
    name = check_label(name, "fabric")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        _name_is_free(session, name)
        fabric = Fabric(name=name)
        session.add(fabric)
        session.flush()
        session.add(Vlan(fabric_id=fabric.id, vid=0, name="untagged"))
        audit(session, context, "create", "fabric", fabric.id, name=name)
        return fabric


def update(context: Context, fabric_id: int, name: str) -> Fabric:
    """Rename a fabric."""
    context.require("admin", "change a fabric")
    name = check_label(name, "fabric")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        fabric = fabric_row(session, fabric_id)
        versions.check(context, fabric, f"fabric {fabric.name}")
        if fabric.name != name:
            _name_is_free(session, name)
            audit(session, context, "update", "fabric", fabric.id, name=[fabric.name, name])
            fabric.name = name
        return fabric


def delete(context: Context, fabric_id: int) -> None:
    """Delete a fabric and its VLANs. Conflict while a subnet or a machine's interface is on one of them."""
    context.require("admin", "delete a fabric")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        fabric = fabric_row(session, fabric_id)
        versions.check(context, fabric, f"fabric {fabric.name}")
        vlan_ids = select(Vlan.id).where(Vlan.fabric_id == fabric_id)
        cidr = session.scalar(select(Subnet.cidr).where(Subnet.vlan_id.in_(vlan_ids)).order_by(Subnet.id).limit(1))
        if cidr is not None:
            raise Conflict(
                f"fabric {fabric.name}: subnet {cidr} is on one of its VLANs; delete the subnet or move it first",
                rule="a fabric in use stays",
                remedy=f"delete subnet {cidr} or move it to a VLAN of another fabric",
            )
        used = session.scalar(select(func.count()).select_from(Interface).where(Interface.vlan_id.in_(vlan_ids)))
        if used:
            raise Conflict(
                f"fabric {fabric.name}: {used} machine interfaces are on its VLANs; delete those machines first",
                rule="a fabric in use stays",
            )
        audit(session, context, "delete", "fabric", fabric.id, name=fabric.name)
        session.execute(sa.delete(Vlan).where(Vlan.fabric_id == fabric_id))
        session.delete(fabric)


def fabric_row(session: Session, fabric_id: int) -> Fabric:
    """The fabric, inside an open transaction. NotFound when there is none."""
    fabric = session.get(Fabric, fabric_id)
    if fabric is None:
        raise NotFound(f"there is no fabric {fabric_id}", field="fabric_id")
    return fabric


def _name_is_free(session: Session, name: str) -> None:
    if session.scalar(select(Fabric.id).where(Fabric.name == name)) is not None:
        raise Conflict(f"fabric {name}: the name is taken; choose another", field="name", rule="fabric names differ")
