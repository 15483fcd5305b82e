"""Neighbours: addresses that racks have seen in use. Observed, never desired; old ones go by the retention rules."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.addressing import address_key, parse_address
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Invalid
from app.store.locks import hold
from app.store.models import IpAddress, Neighbour, Rack, Subnet
from app.store.queries.page import page

MOST = 1024
MOST_KEPT = 20_000
"""Of one rack: what would be more is not taken, so that a report cannot fill the database."""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NAME = re.compile(r"[^\s/]{1,15}")


@dataclass(frozen=True)
class Discovered:
    """An address of a subnet that somebody uses and nobody has given."""

    address: str
    mac: str
    rack: str
    seen_at: dt.datetime


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    rack_id: int | None = None,
    subnet_id: int | None = None,
    interface: str | None = None,
    address: str | None = None,
    mac: str | None = None,
    seen_since: dt.datetime | None = None,
) -> list[Neighbour]:
    """A page of neighbours by id; only those that are as asked. seen_since: seen at this moment or later."""
    context.require("viewer", "see neighbours")
    wanted = {"rack_id": rack_id, "subnet_id": subnet_id, "interface": interface, "mac": mac and mac.lower()}
    statement = select(Neighbour).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if address is not None:
        statement = statement.where(Neighbour.address == str(parse_address(address, "address")))
    if seen_since is not None:
        statement = statement.where(Neighbour.seen_at >= seen_since)
    with context.store.read() as session:
        return list(session.scalars(page(statement, Neighbour.id, after, limit)))


def report(context: Context, rack_id: int, items: list[Any]) -> None:
    """Keep what a rack has seen now. Invalid names the first that is malformed."""
    if len(items) > MOST:
        raise Invalid(f"neighbours: {len(items)} of them; at most {MOST} in one report", field="neighbours")
    seen = {(item["interface"], item["address"]): item["mac"] for item in map(_checked, items)}
    with changing(context) as session:
        hold(session, f"neighbours:{rack_id}")
        now = context.clock()
        known = {
            (row.interface, row.address): row
            for row in session.scalars(select(Neighbour).where(Neighbour.rack_id == rack_id))
        }
        subnets = _Subnets(session)
        for (interface, address), mac in seen.items():
            row = known.get((interface, address))
            if row is None:
                if len(known) >= MOST_KEPT:
                    continue
                row = Neighbour(rack_id=rack_id, interface=interface, address=address, first_seen_at=now)
                row.address_key = address_key(address)
                session.add(row)
                known[interface, address] = row
            row.mac, row.seen_at, row.subnet_id = mac, now, subnets.holding(address)


def discovered(
    session: Session, subnet_id: int, first: str, last: str, limit: int, since: dt.datetime | None = None
) -> list[Discovered]:
    """Addresses in use of a subnet's block (by sortable key, both ends included) that nobody has given; one query.

    since: only those that were seen later.
    """
    given = (
        select(IpAddress.id)
        .where(IpAddress.subnet_id == subnet_id, IpAddress.address_key == Neighbour.address_key)
        .exists()
    )
    statement = (
        select(Neighbour.address, Neighbour.mac, Rack.name, Neighbour.seen_at)
        .join(Rack, Rack.id == Neighbour.rack_id)
        .where(
            Neighbour.subnet_id == subnet_id,
            Neighbour.address_key >= first,
            Neighbour.address_key <= last,
            ~given,
        )
        .order_by(Neighbour.address_key, Neighbour.seen_at.desc())
        .limit(limit)
    )
    if since is not None:
        statement = statement.where(Neighbour.seen_at > since)
    return [Discovered(*row) for row in session.execute(statement)]


class _Subnets:
    """Which subnet holds an address, for many addresses: by network number, per prefix length."""

    def __init__(self, session: Session) -> None:
        self._by_length: dict[tuple[int, int], dict[int, int]] = {}
        for subnet_id, cidr in session.execute(select(Subnet.id, Subnet.cidr)):
            network = ipaddress.ip_network(cidr)
            by_number = self._by_length.setdefault((network.version, network.prefixlen), {})
            by_number[int(network.network_address)] = subnet_id

    def holding(self, text: str) -> int | None:
        """The subnet's id; None when the address is in none."""
        address = ipaddress.ip_address(text)
        for (version, length), by_number in self._by_length.items():
            if version == address.version:
                host_bits = address.max_prefixlen - length
                if (found := by_number.get(int(address) >> host_bits << host_bits)) is not None:
                    return found
        return None


def _checked(item: Any) -> dict[str, str]:
    try:
        interface, mac = str(item["interface"]), str(item["mac"]).lower()
        address = ipaddress.ip_address(str(item["address"]))
        if not _NAME.fullmatch(interface) or not _MAC.fullmatch(mac):
            raise ValueError("interface or MAC")
        return {"interface": interface, "address": str(address), "mac": mac}
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(
            f"neighbour {str(item)[:200]!r} is malformed ({error!r}); expected interface, address and mac",
            field="neighbours",
        ) from None
