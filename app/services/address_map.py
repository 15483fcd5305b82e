"""What every address of a subnet is used for: read a block at a time, so that a /8 costs no more than a /24.

Blocks are those of whole hexadecimal digits of the sortable key (`app.services.addressing`): /24 and /16 of IPv4.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sqlalchemy import func, select

from app.services.addressing import Network, number_key, parse_network
from app.services.context import Context
from app.services.errors import Invalid
from app.services.subnets import subnet_row
from app.store.models import Interface, IpAddress, IpRange, Machine, Subnet

SHOWN = 256
KEY_BITS = 128
BLOCK_PREFIXES = (16, 24)


@dataclass(frozen=True)
class Used:
    """An address in use. kind: as in `IpAddress`; machine_id when a machine holds it."""

    id: int
    address: str
    kind: str
    hostname: str | None
    machine_id: int | None


@dataclass(frozen=True)
class AddressMap:
    """One subnet, or a block of it. used: the addresses in the block (at most 256); counts: in use by smaller block."""

    subnet: Subnet
    block: Network
    ranges: list[IpRange]
    used: list[Used]
    used_count: int
    counts: dict[str, int]
    inner_prefix: int | None
    """Prefix length of the blocks it is shown by; None when each address is shown."""


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
            )
            .outerjoin(Interface, Interface.id == IpAddress.interface_id)
            .outerjoin(Machine, Machine.id == Interface.machine_id)
            .where(*here)
            .order_by(IpAddress.address_key)
            .limit(SHOWN)
        )
        used = [Used(row[0], row[1], row[2], row[5] or row[3], row[4]) for row in rows]
        total = session.scalar(select(func.count()).select_from(IpAddress).where(*here)) or 0
        inner = _inner_prefix(inside)
        counts: dict[str, int] = {}
        if inner is not None:
            digits = (KEY_BITS - inside.max_prefixlen + inner) // 4
            part = func.substr(IpAddress.address_key, 1, digits)
            counts = {
                str(ipaddress.ip_address(int(key.ljust(32, "0"), 16))): int(count)
                for key, count in session.execute(select(part, func.count()).where(*here).group_by(part))
            }
    return AddressMap(subnet, inside, ranges, used, total, counts, inner)


def _inner_prefix(block: Network) -> int | None:
    if block.version == 6:
        return None
    return next((prefix for prefix in BLOCK_PREFIXES if block.prefixlen < prefix), None)
