"""Static routes that installed machines still have, or lack, after those of their subnet were changed.

DHCP gives clients the routes of now; a machine whose addresses are written in its configuration keeps what it was
installed with.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select
from sqlalchemy.orm import Session, aliased

from app.lifecycle.states import State
from app.services.context import Context
from app.services.subnets import subnet_row
from app.store.models import InstalledName, InstalledRoute, Interface, IpAddress, Machine, StaticRoute, Subnet
from app.store.prepared import Prepared
from app.store.queries.page import page

_DESTINATION = aliased(Subnet)
_FORGET = Prepared(delete(InstalledRoute).where(InstalledRoute.machine_id == bindparam("machine_id")))


@dataclass(frozen=True, order=True)
class Route:
    """One static route: what is reached, through whom, how willingly."""

    destination: str
    gateway: str
    metric: int


@dataclass(frozen=True)
class StaleRoutes:
    """A deployed machine whose system has other routes of a subnet than there are now. id: the machine's."""

    id: int
    machine_id: int
    hostname: str
    keeps: list[Route]
    lacks: list[Route]
    installed_at: dt.datetime


@dataclass(frozen=True)
class Given:
    """A route as an installed system is given it. subnet_id: the source, in which the interface has an address."""

    subnet_id: int
    interface: str
    route: Route


def note(session: Session, machine_id: int, given: Iterable[Given]) -> None:
    """Remember the routes that the system is installed with; those of an earlier one are forgotten."""
    _FORGET.run(session, machine_id=machine_id)
    rows = [
        {
            "machine_id": machine_id,
            "subnet_id": one.subnet_id,
            "interface": one.interface,
            "destination": one.route.destination,
            "gateway": one.route.gateway,
            "metric": one.route.metric,
        }
        for one in given
    ]
    if rows:
        session.execute(insert(InstalledRoute), rows)


def stale(context: Context, subnet_id: int, after: int | None = None, limit: int | None = None) -> list[StaleRoutes]:
    """Deployed machines with an address in a subnet whose installed routes are not those of now, a page by machine.

    Four queries.
    """
    context.require("viewer", "see subnets")
    same = and_(
        _DESTINATION.cidr == InstalledRoute.destination,
        StaticRoute.gateway == InstalledRoute.gateway,
        StaticRoute.metric == InstalledRoute.metric,
    )
    stated = (
        select(StaticRoute.id)
        .join(_DESTINATION, _DESTINATION.id == StaticRoute.destination_id)
        .where(StaticRoute.source_id == subnet_id)
    )
    installed = and_(InstalledRoute.machine_id == Machine.id, InstalledRoute.subnet_id == subnet_id)
    here = (
        select(IpAddress.id)
        .join(Interface, Interface.id == IpAddress.interface_id)
        .where(Interface.machine_id == Machine.id, IpAddress.subnet_id == subnet_id)
    )
    had = exists(select(InstalledRoute.id).where(installed, same).correlate(Machine, StaticRoute, _DESTINATION))
    keeps = exists(
        select(InstalledRoute.id)
        .where(installed, ~exists(stated.where(same).correlate(InstalledRoute)))
        .correlate(Machine)
    )
    lacks = and_(exists(here.correlate(Machine)), exists(stated.where(~had).correlate(Machine)))
    statement: Any = (
        select(Machine.id, Machine.hostname, InstalledName.at)
        .join(InstalledName, InstalledName.machine_id == Machine.id)
        .where(Machine.state == State.DEPLOYED, or_(keeps, lacks))
    )
    with context.store.read() as session:
        subnet_row(session, subnet_id)
        machines = session.execute(page(statement, Machine.id, after, limit)).all()
        now = _stated(session, subnet_id)
        then = _installed(session, subnet_id, [row.id for row in machines])
    return [
        StaleRoutes(row.id, row.id, row.hostname, sorted(then[row.id] - now), sorted(now - then[row.id]), row.at)
        for row in machines
    ]


def _stated(session: Session, subnet_id: int) -> set[Route]:
    statement = (
        select(_DESTINATION.cidr, StaticRoute.gateway, StaticRoute.metric)
        .join(_DESTINATION, _DESTINATION.id == StaticRoute.destination_id)
        .where(StaticRoute.source_id == subnet_id)
    )
    return {Route(*row) for row in session.execute(statement)}


def _installed(session: Session, subnet_id: int, machine_ids: list[int]) -> dict[int, set[Route]]:
    found: dict[int, set[Route]] = defaultdict(set)
    statement = select(
        InstalledRoute.machine_id, InstalledRoute.destination, InstalledRoute.gateway, InstalledRoute.metric
    ).where(InstalledRoute.subnet_id == subnet_id, InstalledRoute.machine_id.in_(machine_ids))
    for machine_id, destination, gateway, metric in session.execute(statement):
        found[machine_id].add(Route(destination, gateway, metric))
    return found
