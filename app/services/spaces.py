"""Spaces: sets of VLANs whose subnets may reach each other at layer 3.

A space is put on VLANs (`space_id` there), and their subnets inherit it.  One without any subnet is shown as such,
because nothing can be in it.  A space in use stays, as everything does: deleting it is refused while a VLAN is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services import versions
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.names import check_label
from app.store.locks import hold
from app.store.models import Space, Subnet, Vlan
from app.store.queries.page import page


@dataclass(frozen=True)
class SpaceView:
    """A space with how many VLANs are in it and how many subnets they have."""

    id: int
    name: str
    description: str
    vlans: int
    subnets: int
    shown_version: str

    @property
    def without_subnets(self) -> bool:
        """Whether nothing can be in it."""
        return self.subnets == 0


def find(
    context: Context, after: int | None = None, limit: int | None = None, *, name: str | None = None
) -> list[SpaceView]:
    """A page of spaces by id; the one of a name when it is given."""
    statement = _counted()
    if name is not None:
        statement = statement.where(Space.name == name)
    with context.store.read() as session:
        return [_view(*row) for row in session.execute(page(statement, Space.id, after, limit))]


def get(context: Context, space_id: int) -> SpaceView:
    """One space. NotFound when there is none."""
    with context.store.read() as session:
        row = session.execute(_counted().where(Space.id == space_id)).first()
    if row is None:
        raise NotFound(f"there is no space {space_id}", field="space_id")
    return _view(*row)


def create(context: Context, name: str, description: str = "") -> SpaceView:
    """A new space. Conflict when the name is taken."""
    context.require("admin", "add a space")
    name = check_label(name, "space")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        _name_is_free(session, name)
        space = Space(name=name, description=description)
        session.add(space)
        session.flush()
        audit(session, context, "create", "space", space.id, name=name)
        return _view(space, 0, 0)


def update(context: Context, space_id: int, *, name: str | None = None, description: str | None = None) -> None:
    """Rename or describe a space."""
    context.require("admin", "change a space")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        space = space_row(session, space_id)
        versions.check(context, space, f"space {space.name}")
        changed = {}
        if name is not None and (name := check_label(name, "space")) != space.name:
            _name_is_free(session, name)
            changed["name"] = [space.name, name]
            space.name = name
        if description is not None and description != space.description:
            changed["description"] = [space.description, description]
            space.description = description
        if changed:
            audit(session, context, "update", "space", space.id, **changed)


def delete(context: Context, space_id: int) -> None:
    """Delete a space. Conflict while a VLAN is in it."""
    context.require("admin", "delete a space")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        space = space_row(session, space_id)
        versions.check(context, space, f"space {space.name}")
        first = session.scalar(select(Vlan).where(Vlan.space_id == space_id).order_by(Vlan.id).limit(1))
        if first is not None:
            count = session.scalar(select(func.count()).select_from(Vlan).where(Vlan.space_id == space_id))
            raise Conflict(
                f"space {space.name}: {count} VLANs are in it, the first is {first.name} ({first.vid}, id {first.id});"
                " take them out of it first (space_id null)",
                rule="a space in use stays",
            )
        audit(session, context, "delete", "space", space.id, name=space.name)
        session.delete(space)


def space_row(session: Session, space_id: int) -> Space:
    """The space, inside an open transaction. NotFound when there is none."""
    space = session.get(Space, space_id)
    if space is None:
        raise NotFound(f"there is no space {space_id}", field="space_id")
    return space


def _counted() -> Any:
    vlans = select(func.count()).select_from(Vlan).where(Vlan.space_id == Space.id)
    subnets = (
        select(func.count()).select_from(Subnet).join(Vlan, Vlan.id == Subnet.vlan_id).where(Vlan.space_id == Space.id)
    )
    return select(Space, vlans.correlate(Space).scalar_subquery(), subnets.correlate(Space).scalar_subquery())


def _view(space: Space, vlans: int, subnets: int) -> SpaceView:
    return SpaceView(space.id, space.name, space.description, vlans, subnets, versions.of(space) or "")


def _name_is_free(session: Session, name: str) -> None:
    if session.scalar(select(Space.id).where(Space.name == name)) is not None:
        raise Conflict(f"space {name}: the name is taken; choose another", field="name", rule="space names differ")
