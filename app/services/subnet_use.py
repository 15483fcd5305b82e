"""What the addresses of a subnet are used for: in numbers, as free and reserved intervals, and one by one with who has it.

Desired and observed are shown side by side and never mixed up: what Muster has given, reserved or been told of has a row
of its own; what DHCP has leased or a rack has seen answering beside that is `discovered`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select, union
from sqlalchemy.orm import Session

from app.services.addressing import address_key, address_of, closed, open_parts, parse_address, parse_network, usable
from app.services.context import Context
from app.services.free_space import LATELY, free_parts
from app.services.subnets import subnet_row
from app.store.models import (
    Device,
    Interface,
    IpAddress,
    IpRange,
    Lease,
    Machine,
    Neighbour,
    Rack,
    StaticRoute,
    Subnet,
)

LARGEST = 500


@dataclass(frozen=True)
class Statistics:
    """A subnet in numbers of addresses.

    total: of hosts; by_kind: given, by kind of address; dynamic, reserved, static_pool: in ranges of that kind; leased: by
    DHCP, now; open: those that Muster may hand out by the subnet's rules; available: of these, those that
    nobody has and no stranger answers at; strangers: seen in use lately, and no address that Muster knows of.
    """

    subnet_id: int
    cidr: str
    total: int
    by_kind: dict[str, int]
    dynamic: int
    reserved: int
    static_pool: int
    leased: int
    open: int
    available: int
    strangers: int

    @property
    def usage_percent(self) -> float:
        """How much of what Muster may hand out is given, to a tenth."""
        return round(100 * (1 - self.available / self.open), 1) if self.open else 100.0


@dataclass(frozen=True)
class Part:
    """An interval of addresses, both ends included. purpose: free, or what keeps it."""

    start: str
    end: str
    count: int
    purpose: str
    comment: str = ""


@dataclass(frozen=True)
class Use:
    """One address in use and who has it.

    kind: as of `IpAddress`, or `discovered`.  machine, device, rack: the holder's name; hostname: what is known of it
    otherwise; mac: of the interface, the reservation or the client; leased_until, seen_at: what was observed of it.
    """

    address: str
    key: str
    kind: str
    id: int | None = None
    hostname: str | None = None
    machine: str | None = None
    device: str | None = None
    rack: str | None = None
    interface: str | None = None
    mac: str | None = None
    comment: str = ""
    leased_until: dt.datetime | None = None
    seen_at: dt.datetime | None = None
    seen_mac: str | None = None


def statistics(context: Context, subnet_id: int) -> Statistics:
    """The subnet in numbers. Seven queries, whatever its size."""
    context.require("viewer", "see subnets")
    with context.store.read() as session:
        subnet = subnet_row(session, subnet_id)
        network = parse_network(subnet.cidr)
        space = usable(network)
        ranges = _ranges(session, subnet_id)
        sizes = dict.fromkeys(("dynamic", "reserved", "static_pool"), 0)
        for row in ranges:
            sizes[row.kind] += int(row.end_key, 16) - int(row.start_key, 16) + 1
        opened = list(open_parts(space, _closed(session, subnet, ranges)))
        kinds = select(IpAddress.kind, func.count()).where(IpAddress.subnet_id == subnet_id).group_by(IpAddress.kind)
        given = {row[0]: int(row[1]) for row in session.execute(kinds)}
        size = sum(last - first + 1 for first, last in opened)
        now = context.clock()
        inside = _count_inside(session, subnet_id, opened, now - LATELY)
        leased = select(func.count(Lease.address_key.distinct())).where(
            Lease.subnet_id == subnet_id, Lease.expires_at > now
        )
        strangers = select(func.count(Neighbour.address_key.distinct())).where(
            Neighbour.subnet_id == subnet_id,
            *_of_strangers(now - LATELY),
            ~select(IpAddress.id)
            .where(IpAddress.subnet_id == subnet_id, IpAddress.address_key == Neighbour.address_key)
            .exists(),
        )
        return Statistics(
            subnet_id=subnet.id,
            cidr=subnet.cidr,
            total=space[1] - space[0] + 1,
            by_kind=given,
            **sizes,
            leased=session.scalar(leased) or 0,
            open=size,
            available=size - inside,
            strangers=session.scalar(strangers) or 0,
        )


def free(context: Context, subnet_id: int, after: str | None = None, limit: int = 100) -> list[Part]:
    """Intervals that Muster may hand out and nobody has, in order, beginning after an address."""
    context.require("viewer", "see subnets")
    key = address_key(parse_address(after, "after")) if after else None
    with context.store.read() as session:
        subnet = subnet_row(session, subnet_id)
        network = parse_network(subnet.cidr)
        return [
            Part(address_of(first, network), address_of(last, network), last - first + 1, "free")
            for first, last in free_parts(session, context, subnet, key, max(1, min(limit, LARGEST)))
        ]


def kept(context: Context, subnet_id: int) -> list[Part]:
    """Intervals that are kept by ranges, the gateway and routes, in order: what Muster hands out nothing of by rule."""
    context.require("viewer", "see subnets")
    with context.store.read() as session:
        subnet = subnet_row(session, subnet_id)
        rows = _ranges(session, subnet_id)
        parts = [
            Part(row.start, row.end, int(row.end_key, 16) - int(row.start_key, 16) + 1, row.kind, row.comment)
            for row in rows
        ]
        if subnet.gateway and parse_address(subnet.gateway) in parse_network(subnet.cidr):
            parts.append(Part(subnet.gateway, subnet.gateway, 1, "gateway"))
        parts += [Part(via, via, 1, "route") for via in _gateways_of_routes(session, subnet_id) - {subnet.gateway}]
        return sorted(parts, key=lambda part: address_key(part.start))


def addresses(context: Context, subnet_id: int, after: str | None = None, limit: int = 100) -> list[Use]:
    """Addresses in use with who has them, in the order of addresses, beginning after one. Four queries.

    A page may be shorter than `limit` though there is more; the last one is empty.
    """
    context.require("viewer", "see subnets")
    limit = max(1, min(limit, LARGEST))
    low = address_key(parse_address(after, "after")) if after else ""
    with context.store.read() as session:
        subnet_row(session, subnet_id)
        found: dict[str, Use] = {}
        horizon = "g"  # Above all keys; what was read only in part says nothing of what lies beyond its end.
        for uses in (_given(session, subnet_id, low, limit), *_observed(session, context, subnet_id, low, limit)):
            if len(uses) >= limit:
                horizon = min(horizon, uses[-1].key)
            for use in uses:
                found[use.key] = _joined(found[use.key], use) if use.key in found else use
    return [found[key] for key in sorted(found) if key <= horizon][:limit]


def _given(session: Session, subnet_id: int, low: str, limit: int) -> list[Use]:
    statement = (
        select(IpAddress, Interface.name, Interface.mac, Machine.hostname, Device.hostname, Rack.name)
        .outerjoin(Interface, Interface.id == IpAddress.interface_id)
        .outerjoin(Machine, Machine.id == Interface.machine_id)
        .outerjoin(Device, Device.id == Interface.device_id)
        .outerjoin(Rack, Rack.id == IpAddress.rack_id)
        .where(IpAddress.subnet_id == subnet_id, IpAddress.address_key > low)
        .order_by(IpAddress.address_key)
        .limit(limit)
    )
    return [
        Use(
            row.address,
            row.address_key,
            row.kind,
            row.id,
            hostname=row.hostname,
            machine=machine,
            device=device,
            rack=rack,
            interface=interface,
            mac=mac or row.mac,
            comment=row.comment,
        )
        for row, interface, mac, machine, device, rack in session.execute(statement)
    ]


def _observed(session: Session, context: Context, subnet_id: int, low: str, limit: int) -> tuple[list[Use], list[Use]]:
    """What is leased now, and what was seen lately; the same address once for each rack that tells of it."""
    now = context.clock()
    leases = (
        select(Lease)
        .where(Lease.subnet_id == subnet_id, Lease.address_key > low, Lease.expires_at > now)
        .order_by(Lease.address_key, Lease.expires_at)
        .limit(limit)
    )
    neighbours = (
        select(Neighbour)
        .where(Neighbour.subnet_id == subnet_id, Neighbour.address_key > low, Neighbour.seen_at > now - LATELY)
        .order_by(Neighbour.address_key, Neighbour.seen_at)
        .limit(limit)
    )
    return (
        [
            Use(
                row.address,
                row.address_key,
                "discovered",
                hostname=row.hostname,
                mac=row.mac,
                leased_until=row.expires_at,
            )
            for row in session.scalars(leases)
        ],
        [
            Use(row.address, row.address_key, "discovered", mac=row.mac, seen_at=row.seen_at, seen_mac=row.mac)
            for row in session.scalars(neighbours)
        ],
    )


def _joined(known: Use, seen: Use) -> Use:
    """What is known of an address, with what was observed of it."""
    values: dict[str, Any] = {**known.__dict__}
    for name in ("leased_until", "seen_at", "seen_mac"):
        values[name] = getattr(seen, name) or values[name]
    for name in ("hostname", "mac"):
        values[name] = values[name] or getattr(seen, name)
    return Use(**values)


def _ranges(session: Session, subnet_id: int) -> list[IpRange]:
    return list(session.scalars(select(IpRange).where(IpRange.subnet_id == subnet_id).order_by(IpRange.start_key)))


def _gateways_of_routes(session: Session, subnet_id: int) -> set[str]:
    return set(session.scalars(select(StaticRoute.gateway).where(StaticRoute.source_id == subnet_id)))


def _closed(session: Session, subnet: Subnet, ranges: list[IpRange]) -> list[tuple[int, int]]:
    """What of the subnet's usable addresses is not handed out by rule, in order."""
    network = parse_network(subnet.cidr)
    spans = [(row.kind, int(row.start_key, 16), int(row.end_key, 16)) for row in ranges]
    parts = closed(usable(network), subnet.managed, spans)
    gateways = {*_gateways_of_routes(session, subnet.id), *([subnet.gateway] if subnet.gateway else [])}
    return sorted([*parts, *((int(one), int(one)) for one in map(parse_address, gateways) if one in network)])


def _of_strangers(since: dt.datetime) -> tuple[Any, ...]:
    """Conditions on neighbours that keep Muster from giving an address, as `app.services.free_space` has them."""
    return (
        Neighbour.seen_at > since,
        Neighbour.mac.not_in(select(Interface.mac).where(Interface.machine_id.is_not(None))),
    )


def _count_inside(session: Session, subnet_id: int, parts: list[tuple[int, int]], since: dt.datetime) -> int:
    """How many addresses in any of the intervals are given, or answered by a stranger. One query."""
    if not parts:
        return 0
    used = union(
        select(IpAddress.address_key.label("key")).where(IpAddress.subnet_id == subnet_id),
        select(Neighbour.address_key).where(Neighbour.subnet_id == subnet_id, *_of_strangers(since)),
    ).subquery()
    inside = or_(*(used.c.key.between(f"{first:032x}", f"{last:032x}") for first, last in parts))
    return session.scalar(select(func.count()).select_from(used).where(inside)) or 0
