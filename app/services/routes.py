"""Static routes, stated once: clients of the source subnet reach the destination subnet through a gateway of theirs.

Racks give them to DHCP clients (option 121, RFC 3442), and installed systems have them in their network configuration, where
a later change does not reach them (`app.services.installed_routes` lists those machines).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from app.services import versions
from app.services.addressing import parse_address, parse_network, usable
from app.services.changes import audit, changing, touch_vlans
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.subnet_rules import refuse_gateway_in_range
from app.services.subnets import subnet_row
from app.services.vlans import refuse_unknown
from app.store.locks import hold
from app.store.models import StaticRoute, Subnet
from app.store.queries.page import page

CHANGEABLE = ("destination_id", "gateway", "metric")
METRIC = (0, 2**31 - 1)


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    source_id: int | None = None,
    destination_id: int | None = None,
    subnet_id: int | None = None,
) -> list[StaticRoute]:
    """A page of routes by id, with both subnets. subnet_id: those that begin or end there."""
    context.require("viewer", "list routes")
    statement = select(StaticRoute).options(*_whole())
    if source_id is not None:
        statement = statement.where(StaticRoute.source_id == source_id)
    if destination_id is not None:
        statement = statement.where(StaticRoute.destination_id == destination_id)
    if subnet_id is not None:
        statement = statement.where(or_(StaticRoute.source_id == subnet_id, StaticRoute.destination_id == subnet_id))
    with context.store.read() as session:
        return list(session.scalars(page(statement, StaticRoute.id, after, limit)))


def get(context: Context, route_id: int) -> StaticRoute:
    """One route with both subnets. NotFound when there is none."""
    context.require("viewer", "see routes")
    with context.store.read() as session:
        return _row(session, route_id)


def create(context: Context, source_id: int, destination_id: int, gateway: str, metric: int = 0) -> StaticRoute:
    """A new route. Invalid when the gateway lies outside the source, or the families differ; Conflict when it is there."""
    context.require("admin", "add a route")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        source = subnet_row(session, source_id, "source_id")
        route = StaticRoute(source_id=source_id)
        destination = _set(session, route, source, destination_id, gateway, metric)
        session.add(route)
        _flush(session, route, source, destination)
        touch_vlans(session, [source.vlan_id])
        audit(
            session, context, "create", "route", route.id, source=source.cidr, destination=destination.cidr,
            gateway=route.gateway, metric=metric,
        )  # fmt: skip
        session.refresh(route, ["source", "destination"])
        return route


def update(context: Context, route_id: int, **changes: Any) -> StaticRoute:
    """Change destination_id, gateway or metric of a route; its source stays."""
    context.require("admin", "change a route")
    refuse_unknown("a route", changes, CHANGEABLE)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        route = _row(session, route_id)
        source = subnet_row(session, route.source_id)
        versions.check(context, route, f"route {route_id}")
        before = {name: getattr(route, name) for name in changes}
        values = {name: getattr(route, name) for name in CHANGEABLE} | changes
        destination = _set(session, route, source, values["destination_id"], values["gateway"], values["metric"])
        _flush(session, route, source, destination)
        touch_vlans(session, [source.vlan_id])
        changed = {name: [value, getattr(route, name)] for name, value in before.items()}
        audit(session, context, "update", "route", route.id, **changed)
        session.refresh(route, ["source", "destination"])
        return route


def delete(context: Context, route_id: int) -> None:
    """Delete a route; installed systems keep it until they are installed anew."""
    context.require("admin", "delete a route")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        route = _row(session, route_id)
        source = subnet_row(session, route.source_id)
        versions.check(context, route, f"route {route_id}")
        touch_vlans(session, [source.vlan_id])
        audit(
            session, context, "delete", "route", route.id, source=source.cidr, destination=route.destination.cidr,
            gateway=route.gateway,
        )  # fmt: skip
        session.delete(route)


def _whole() -> list[Any]:
    return [selectinload(StaticRoute.source), selectinload(StaticRoute.destination)]


def _row(session: Session, route_id: int) -> StaticRoute:
    route = session.get(StaticRoute, route_id, options=_whole())
    if route is None:
        raise NotFound(f"there is no route {route_id}", field="route_id")
    return route


def _set(
    session: Session, route: StaticRoute, source: Subnet, destination_id: int, gateway: str, metric: int
) -> Subnet:
    """Set the columns once no rule speaks against them; the destination."""
    destination = subnet_row(session, destination_id, "destination_id")
    network, other = parse_network(source.cidr), parse_network(destination.cidr)
    label = f"route from {source.cidr} to {destination.cidr}"
    if source.id == destination.id:
        raise Invalid(
            f"{label}: clients of a subnet reach it without a route; choose another destination",
            field="destination_id",
            rule="source and destination differ",
        )
    if network.version != other.version:
        raise Invalid(
            f"{label}: one is IPv{network.version}, the other IPv{other.version}; choose subnets of one family",
            field="destination_id",
            rule="source and destination are of one family",
        )
    via = parse_address(gateway, "gateway")
    low, high = usable(network)
    if via.version != network.version or not low <= int(via) <= high:
        raise Invalid(
            f"{label}: gateway {via} is no host address of the source subnet {source.cidr}, so its clients cannot reach it;"
            " choose one inside",
            field="gateway",
            rule="the gateway lies in the source subnet",
        )
    if not METRIC[0] <= metric <= METRIC[1]:
        raise Invalid(
            f"{label}: metric {metric}; use {METRIC[0]} to {METRIC[1]}",
            field="metric",
            rule=f"{METRIC[0]} <= metric <= {METRIC[1]}",
        )
    with session.no_autoflush:
        refuse_gateway_in_range(session, source, str(via))
        same = select(StaticRoute.id).where(
            StaticRoute.source_id == source.id,
            StaticRoute.destination_id == destination.id,
            StaticRoute.gateway == str(via),
        )
        if route.id is not None:
            same = same.where(StaticRoute.id != route.id)
        if (other_id := session.scalar(same)) is not None:
            raise Conflict(
                f"{label} through {via}: route {other_id} says so already; change that one, or choose another gateway",
                field="gateway",
                rule="a route is stated once",
            )
    route.destination_id, route.gateway, route.metric = destination.id, str(via), metric
    return destination


def _flush(session: Session, route: StaticRoute, source: Subnet, destination: Subnet) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(
            f"route from {source.cidr} to {destination.cidr} through {route.gateway}: someone made it at the same moment",
            field="gateway",
            rule="a route is stated once",
        ) from error
