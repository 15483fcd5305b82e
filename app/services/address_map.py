"""What every address of a subnet is used for: read a block at a time, so that a /8 costs no more than a /24.

Blocks are those of whole hexadecimal digits of the sortable key (`app.services.addressing`): /24 and /16 of IPv4.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, func, select, union
from sqlalchemy.orm import Session

from app.services import leases, neighbours
from app.services.addressing import Network, address_key, number_key, parse_network
from app.services.context import Context
from app.services.errors import Invalid
from app.services.free_space import LATELY
from app.services.subnets import subnet_row
from app.store.models import Device, Interface, IpAddress, IpRange, Lease, Machine, Neighbour, Subnet

SHOWN = 256
KEY_BITS = 128
BLOCK_PREFIXES = (16, 24)


@dataclass(frozen=True)
class Used:
    """An address in use. kind: as in `IpAddress`; machine_id or device_id when one of these holds it."""

    id: int
    address: str
    kind: str
    hostname: str | None
    machine_id: int | None
    device_id: int | None = None


@dataclass(frozen=True)
class Found:
    """An address that nobody was given and somebody uses. leased_until: by DHCP; seen_at: when a rack saw it, lately."""

    address: str
    mac: str | None
    rack: str
    hostname: str | None = None
    leased_until: dt.datetime | None = None
    seen_at: dt.datetime | None = None


@dataclass(frozen=True)
class AddressMap:
    """One subnet, or a block of it. used: the addresses in the block (at most 256); counts: in use by smaller block.

    found: addresses in the block that were only observed (at most 256); found_counts: of these by smaller block.
    """

    subnet: Subnet
    block: Network
    ranges: list[IpRange]
    used: list[Used]
    used_count: int
    counts: dict[str, int]
    inner_prefix: int | None
    """Prefix length of the blocks it is shown by; None when each address is shown."""
    found: list[Found]
    found_counts: dict[str, int]


def read(context: Context, subnet_id: int, block: str | None = None) -> AddressMap:
    """The map of a subnet, or of the block of it that is named. Invalid when the block is not part of the subnet."""
    context.require("viewer", "see subnets")
    with context.store.read() as session:
        subnet = subnet_row(session, subnet_id)
        network = parse_network(subnet.cidr)
        inside = network if block is None else parse_network(block, "block")
        if inside.version != network.version or not inside.subnet_of(network):  # type: ignore[arg-type]
            raise Invalid(f"block {inside}: it is not part of subnet {network}; choose one inside", field="block")
        first, last = number_key(int(inside[0])), number_key(int(inside[-1]))
        ranges = list(
            session.scalars(
                select(IpRange)
                .where(IpRange.subnet_id == subnet_id, IpRange.start_key <= last, IpRange.end_key >= first)
                .order_by(IpRange.start_key)
            )
        )
        here = (IpAddress.subnet_id == subnet_id, IpAddress.address_key >= first, IpAddress.address_key <= last)
        rows = session.execute(
            select(
                IpAddress.id,
                IpAddress.address,
                IpAddress.kind,
                IpAddress.hostname,
                Interface.machine_id,
                Machine.hostname,
                Interface.device_id,
                Device.hostname,
            )
            .outerjoin(Interface, Interface.id == IpAddress.interface_id)
            .outerjoin(Machine, Machine.id == Interface.machine_id)
            .outerjoin(Device, Device.id == Interface.device_id)
            .where(*here)
            .order_by(IpAddress.address_key)
            .limit(SHOWN)
        )
        used = [Used(row[0], row[1], row[2], row[5] or row[7] or row[3], row[4], row[6]) for row in rows]
        total = session.scalar(select(func.count()).select_from(IpAddress).where(*here)) or 0
        inner = _inner_prefix(inside)
        counts: dict[str, int] = {}
        found_counts: dict[str, int] = {}
        now = context.clock()
        found = _found(session, subnet_id, first, last, now)
        if inner is not None:
            digits = (KEY_BITS - inside.max_prefixlen + inner) // 4
            part = func.substr(IpAddress.address_key, 1, digits)
            counts = _by_block(session.execute(select(part, func.count()).where(*here).group_by(part)))
            found_counts = _by_block(session.execute(_count_found(subnet_id, first, last, now, digits)))
    return AddressMap(subnet, inside, ranges, used, total, counts, inner, found, found_counts)


def _found(session: Session, subnet_id: int, first: str, last: str, now: dt.datetime) -> list[Found]:
    """What was only observed, by address: leased, seen, or both. Two queries."""
    found: dict[str, Found] = {}
    for lease in leases.discovered(session, subnet_id, first, last, now, SHOWN):
        if lease.address not in found:
            one = Found(lease.address, lease.mac, lease.rack, lease.hostname, leased_until=lease.expires_at)
            found[lease.address] = one
    for seen in neighbours.discovered(session, subnet_id, first, last, SHOWN, now - LATELY):
        known = found.get(seen.address) or Found(seen.address, seen.mac, seen.rack)
        if known.seen_at is None:
            found[seen.address] = replace(known, seen_at=seen.seen_at)
    return sorted(found.values(), key=lambda one: address_key(one.address))[:SHOWN]


def _count_found(subnet_id: int, first: str, last: str, now: dt.datetime, digits: int) -> Select[Any]:
    """How many addresses were only observed, by the first digits of their keys."""
    given = select(IpAddress.address_key).where(IpAddress.subnet_id == subnet_id)
    observed = union(
        *(
            select(kind.address_key.label("key")).where(
                kind.subnet_id == subnet_id,
                kind.address_key >= first,
                kind.address_key <= last,
                is_recent,
                kind.address_key.not_in(given),
            )
            for kind, is_recent in ((Lease, Lease.expires_at > now), (Neighbour, Neighbour.seen_at > now - LATELY))
        )
    ).subquery()
    part = func.substr(observed.c.key, 1, digits)
    return select(part, func.count()).select_from(observed).group_by(part)


def _by_block(rows: Iterable[Any]) -> dict[str, int]:
    return {str(ipaddress.ip_address(int(key.ljust(32, "0"), 16))): int(count) for key, count in rows}


def _inner_prefix(block: Network) -> int | None:
    if block.version == 6:
        return None
    return next((prefix for prefix in BLOCK_PREFIXES if block.prefixlen < prefix), None)
