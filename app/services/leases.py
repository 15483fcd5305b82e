"""Leases, as racks report them: observed, never desired.  A lease gets a name in its subnet's domain while it lives.

A rack reports leases that began or changed, and addresses whose lease has ended; what expires without a word is taken
away by the region's timer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.services.addressing import address_key, parse_address, supernets
from app.services.changes import changing
from app.services.context import Context
from app.services.lease_names import drop_lease_name, put_lease_name
from app.store.models import Lease, Subnet

TOGETHER = 500


@dataclass(frozen=True)
class SeenLease:
    """A lease as a DHCP server tells it; hostname: as the client calls itself, nothing of it is trusted."""

    address: str
    mac: str | None
    duid: str | None
    hostname: str | None
    started_at: dt.datetime
    expires_at: dt.datetime


def observe(context: Context, rack_id: int, seen: Sequence[SeenLease], ended: Iterable[str] = ()) -> int:
    """Keep the leases that a rack has seen and forget those that have ended; how many rows changed.

    An address that is in no known subnet is passed over.  A handful of statements for each lease that is new.
    """
    count = 0
    with changing(context) as session:
        gone = [str(parse_address(address, "ended")) for address in ended]
        for begin in range(0, len(gone), TOGETHER):
            here = Lease.rack_id == rack_id, Lease.address.in_(gone[begin : begin + TOGETHER])
            count += _forget(session, session.scalars(select(Lease).where(*here)))
        for begin in range(0, len(seen), TOGETHER):
            count += _keep(session, context, rack_id, seen[begin : begin + TOGETHER])
    return count


def expire(context: Context) -> int:
    """Forget the leases whose time is over; how many. Nothing is written when there are none."""
    over = select(Lease).where(Lease.expires_at <= context.clock()).order_by(Lease.id).limit(TOGETHER)
    with context.store.read() as session:
        if session.scalar(over.with_only_columns(Lease.id).limit(1)) is None:
            return 0
    with changing(context) as session:
        return _forget(session, session.scalars(over))


def _keep(session: Session, context: Context, rack_id: int, seen: Sequence[SeenLease]) -> int:
    addresses = {one.address: str(parse_address(one.address, "address")) for one in seen}
    subnets = _subnets_of(session, addresses.values())
    statement = select(Lease).where(Lease.rack_id == rack_id, Lease.address.in_(addresses.values()))
    known = {row.address: row for row in session.scalars(statement)}
    count = 0
    for one in seen:
        address = addresses[one.address]
        subnet = subnets.get(address)
        if subnet is None or one.expires_at <= context.clock():
            continue
        row = known.get(address)
        is_new = row is None
        if row is None:
            row = known[address] = Lease(
                rack_id=rack_id, subnet_id=subnet.id, address=address, address_key=address_key(address)
            )
            session.add(row)
        before = row.hostname, row.mac
        row.mac, row.duid, row.hostname = one.mac, one.duid, one.hostname
        row.started_at, row.expires_at = one.started_at, one.expires_at
        count += 1
        if is_new or (row.hostname, row.mac) != before:
            session.flush()
            put_lease_name(session, row, subnet)
    return count


def _forget(session: Session, rows: Iterable[Lease]) -> int:
    leases = list(rows)
    wanted = {row.subnet_id for row in leases}
    statement = select(Subnet).where(Subnet.id.in_(wanted)).options(joinedload(Subnet.domain))
    subnets = {subnet.id: subnet for subnet in session.scalars(statement)} if wanted else {}
    for row in leases:
        drop_lease_name(session, row, subnets[row.subnet_id])
        session.delete(row)
    return len(leases)


def _subnets_of(session: Session, addresses: Iterable[str]) -> dict[str, Subnet]:
    """The subnet of each address that is in one, with its domain. One query."""
    above = {address: list(supernets(address)) for address in addresses}
    cidrs = {cidr for some in above.values() for cidr in some}
    statement = select(Subnet).where(Subnet.cidr.in_(cidrs)).options(joinedload(Subnet.domain))
    known = {subnet.cidr: subnet for subnet in session.scalars(statement)}
    return {
        address: next(known[cidr] for cidr in some if cidr in known)
        for address, some in above.items()
        if not known.keys().isdisjoint(some)
    }
