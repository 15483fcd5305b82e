"""Free addresses of a subnet: which there are, and giving the lowest of them.

They are found by walking over what is blocked, in order, a page at a time; so a /8 or a /64 costs memory for one page.
Blocked is what the subnet's ranges close (`app.services.addressing.closed`), its gateway, the gateways of its routes, and
addresses in use.  An address at which a stranger answers is passed over too, with an event: a host that a rack has seen
there lately and that is none of our machines.
Whoever gives addresses of a subnet holds its lock, and the database refuses a second row for an address
(`uq_ip_address_subnet_id_address`) should anything slip past the lock; then the next address is tried.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import bindparam, literal, null, select, true, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.services.addressing import (
    Interval,
    Network,
    address_of,
    closed,
    number_key,
    open_parts,
    parse_address,
    parse_network,
    usable,
)
from app.services.changes import audit, event
from app.services.context import Context
from app.services.errors import Conflict
from app.store.models import Interface, IpAddress, IpRange, Neighbour, StaticRoute, Subnet, Vlan
from app.store.prepared import Prepared

PAGE = 1000
ATTEMPTS = 20
LATELY = dt.timedelta(hours=1)
"""For how long after a stranger was seen at an address it is not given."""
_RULES = Prepared(union_all(
    select(Subnet.gateway.label("gateway"), Subnet.managed.label("managed"), IpRange.kind.label("kind"),
           IpRange.start_key.label("start_key"), IpRange.end_key.label("end_key"))
    .outerjoin(IpRange, IpRange.subnet_id == Subnet.id)
    .where(Subnet.id == bindparam("subnet_id")),
    select(StaticRoute.gateway, true(), literal("route"), null(), null())
    .where(StaticRoute.source_id == bindparam("subnet_id")),
))  # fmt: skip
_USED = Prepared(
    union_all(
        select(IpAddress.address_key.label("key"), literal("").label("mac")).where(
            IpAddress.subnet_id == bindparam("subnet_id"), IpAddress.address_key > bindparam("after")
        ),
        select(Neighbour.address_key, Neighbour.mac).where(
            Neighbour.subnet_id == bindparam("subnet_id"),
            Neighbour.address_key > bindparam("after"),
            Neighbour.seen_at > bindparam("since", type_=Neighbour.seen_at.type),
            Neighbour.mac.not_in(select(Interface.mac).where(Interface.machine_id.is_not(None))),
        ),
    )
    .order_by("key")
    .limit(PAGE)
)
_INSERT = {
    name: Prepared(
        insert(IpAddress)
        .on_conflict_do_nothing(index_elements=[IpAddress.subnet_id, IpAddress.address])
        .returning(IpAddress.id),
        *("subnet_id", "address", "address_key", "kind", "interface_id", "hostname", "comment", "created_at"),
    )
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}


@dataclass(frozen=True)
class PlainSubnet:
    """A subnet, as far as giving addresses of it needs to know it."""

    id: int
    cidr: str
    vlan_id: int
    managed: bool


AnySubnet = Subnet | PlainSubnet


@dataclass
class _Walk:
    """One walk over a subnet: what it may be given from, what its rules close, and the strangers it has met."""

    network: Network
    space: Interval
    rules: list[Interval]
    strangers: dict[int, str] = field(default_factory=dict)


def give(session: Session, context: Context, subnet: AnySubnet, kind: str, interface_id: int, hostname: str) -> str:
    """Give the lowest free address of a subnet to an interface. The caller holds the subnet's lock.

    Conflict when none is free.
    """
    write = _INSERT[session.get_bind().dialect.name]
    walk: _Walk | None = None
    for _ in range(ATTEMPTS):
        walk = _begin(session, subnet)
        address = _lowest(session, context, subnet, walk)
        if address is None:
            break
        values = {
            "subnet_id": subnet.id,
            "address": address,
            "address_key": number_key(int(parse_address(address))),
            "kind": kind,
            "interface_id": interface_id,
            "hostname": hostname,
            "comment": "",
            "created_at": context.clock(),
        }
        row_id = write.value(session, **values)
        if row_id is not None:
            _tell(session, context, subnet, walk, hostname, address)
            audit(session, context, "claim", "address", row_id, address=address, machine=hostname)
            return address
    raise Conflict(
        f"subnet {subnet.cidr}: no free address for {hostname}: all that Muster may hand out there "
        f"({_allowed(subnet)}) are given{_strangers(walk)}; shorten a range, add one, or release machines",
        rule="an address is given once",
    )


def lowest_free(session: Session, context: Context, subnet: AnySubnet) -> str | None:
    """The lowest address of a subnet that Muster may hand out and nobody has."""
    return _lowest(session, context, subnet, _begin(session, subnet))


def free_parts(session: Session, context: Context, subnet: AnySubnet, after: str | None, limit: int) -> list[Interval]:
    """The first `limit` intervals of addresses that Muster may hand out and nobody has, beginning after a key."""
    walk = _begin(session, subnet)
    low, high = walk.space
    space = (max(low, int(after, 16) + 1) if after else low, high)
    rules = [part for part in walk.rules if part[1] >= space[0]]
    return list(
        islice(open_parts(space, heapq.merge(rules, _used(session, context, subnet.id, space[0], None))), limit)
    )


def _begin(session: Session, subnet: AnySubnet) -> _Walk:
    """Read the subnet's rules anew: they may have changed between its loading and the lock."""
    network = parse_network(subnet.cidr)
    rows = _RULES.all(session, subnet_id=subnet.id)
    gateways = {row.gateway for row in rows if row.gateway}
    ranges = [(row.kind, int(row.start_key, 16), int(row.end_key, 16)) for row in rows if row.start_key is not None]
    managed = bool(rows[0].managed) if rows else subnet.managed
    space = usable(network)
    blocked = closed(space, managed, ranges)
    blocked += [(number, number) for number in (int(parse_address(gateway)) for gateway in gateways)]
    return _Walk(network, space, sorted(blocked))


def _lowest(session: Session, context: Context, subnet: AnySubnet, walk: _Walk) -> str | None:
    first = next(open_parts(walk.space, iter(walk.rules)), None)
    if first is None:
        return None
    space = (first[0], walk.space[1])
    rules = [part for part in walk.rules if part[1] >= first[0]]
    found = next(open_parts(space, heapq.merge(rules, _used(session, context, subnet.id, first[0], walk))), None)
    return None if found is None else address_of(found[0], walk.network)


def _used(session: Session, context: Context, subnet_id: int, first: int, walk: _Walk | None) -> Iterator[Interval]:
    """Addresses in use from a number on, in order, fetched a page at a time and only as far as somebody reads.

    Those of strangers are noted in the walk.
    """
    after = number_key(first - 1) if first else ""
    since = context.clock() - LATELY
    while True:
        rows = _USED.all(session, subnet_id=subnet_id, after=after, since=since)
        for key, mac in rows:
            number = int(key, 16)
            if mac and walk is not None:
                walk.strangers[number] = mac
            yield number, number
        if len(rows) < PAGE:
            return
        after = rows[-1][0]


def _tell(session: Session, context: Context, subnet: AnySubnet, walk: _Walk, hostname: str, address: str) -> None:
    """Say which strangers' addresses were passed over, because they would have been given otherwise."""
    given = int(parse_address(address))
    passed = {number: mac for number, mac in walk.strangers.items() if number < given}
    if not passed:
        return
    ours = session.scalars(
        select(IpAddress.address_key).where(
            IpAddress.subnet_id == subnet.id, IpAddress.address_key.in_([number_key(number) for number in passed])
        )
    )
    for key in ours:
        passed.pop(int(key, 16), None)
    rack_id = session.scalar(select(Vlan.rack_id).where(Vlan.id == subnet.vlan_id))
    for number, mac in sorted(passed.items()):
        if any(start <= number <= end for start, end in walk.rules):
            continue
        stranger = address_of(number, walk.network)
        message = (
            f"{stranger} of subnet {subnet.cidr} was not given to {hostname}: {mac}, which is none of our machines, answers"
            f" there. {hostname} has {address} instead; reserve {stranger} if that host should keep it."
        )
        event(
            session, context, "address.stranger", message, rack_id=rack_id, level="warning", address=stranger,
            mac=mac, subnet_id=subnet.id,
        )  # fmt: skip


def _allowed(subnet: AnySubnet) -> str:
    return (
        "what lies outside its ranges, or in its static pools" if subnet.managed else "what lies in its reserved ranges"
    )


def _strangers(walk: _Walk | None) -> str:
    count = len(walk.strangers) if walk is not None else 0
    return f", or used by strangers ({count} seen there lately)" if count else ""
