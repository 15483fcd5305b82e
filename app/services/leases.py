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

from app.services import rack_questions
from app.services.addressing import address_key, parse_address, supernets
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, NotFound, Unanswered
from app.services.lease_names import drop_lease_name, put_lease_name
from app.store.locks import hold
from app.store.models import IpAddress, Lease, Rack, Subnet
from app.store.queries.page import page

RELEASE_SECONDS = 10.0
"""How long anybody waits for racks to end a lease."""
TOGETHER = 200
"""Leases asked of at once: an IPv6 address may be in about a hundred networks, and SQLite takes 32,766 of them."""


@dataclass(frozen=True)
class SeenLease:
    """A lease as a DHCP server tells it; hostname: as the client calls itself, nothing of it is trusted."""

    address: str
    mac: str | None
    duid: str | None
    hostname: str | None
    started_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True)
class Leased:
    """An address of a subnet that DHCP has leased and that nobody has been given."""

    address: str
    mac: str | None
    hostname: str | None
    rack: str
    expires_at: dt.datetime


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    rack_id: int | None = None,
    subnet_id: int | None = None,
    address: str | None = None,
    mac: str | None = None,
    hostname: str | None = None,
) -> list[Lease]:
    """A page of the leases that live, by id; only those that are as asked. hostname: as the client calls itself."""
    context.require("viewer", "see leases")
    wanted = {"rack_id": rack_id, "subnet_id": subnet_id, "mac": mac and mac.lower(), "hostname": hostname}
    statement = select(Lease).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if address is not None:
        statement = statement.where(Lease.address == str(parse_address(address, "address")))
    with context.store.read() as session:
        return list(session.scalars(page(statement.where(Lease.expires_at > context.clock()), Lease.id, after, limit)))


def discovered(session: Session, subnet_id: int, first: str, last: str, now: dt.datetime, limit: int) -> list[Leased]:
    """Addresses leased now in a subnet's block (by sortable key, both ends included) that nobody was given; one query."""
    statement = (
        select(Lease.address, Lease.mac, Lease.hostname, Rack.name, Lease.expires_at)
        .join(Rack, Rack.id == Lease.rack_id)
        .where(
            Lease.subnet_id == subnet_id,
            Lease.address_key >= first,
            Lease.address_key <= last,
            Lease.expires_at > now,
            ~select(IpAddress.id)
            .where(IpAddress.subnet_id == subnet_id, IpAddress.address_key == Lease.address_key)
            .exists(),
        )
        .order_by(Lease.address_key, Lease.expires_at.desc())
        .limit(limit)
    )
    return [Leased(*row) for row in session.execute(statement)]


def observe(
    context: Context,
    rack_id: int,
    seen: Sequence[SeenLease],
    ended: Iterable[str] = (),
    span: tuple[str, str] | None = None,
) -> int:
    """Keep the leases that a rack has seen and forget those that have ended; how many rows changed.

    span: the first and the last address between which `seen` are all of the rack's; its other leases there have ended.
    An address that is in no known subnet is passed over.  A handful of statements for each lease that is new.
    """
    count = 0
    with changing(context) as session:
        hold(session, f"leases:{rack_id}")
        if span is not None:
            count += _forget(session, _missing(session, rack_id, seen, span))
        gone = [str(parse_address(address, "ended")) for address in ended]
        for begin in range(0, len(gone), TOGETHER):
            here = Lease.rack_id == rack_id, Lease.address.in_(gone[begin : begin + TOGETHER])
            count += _forget(session, session.scalars(select(Lease).where(*here)))
        for begin in range(0, len(seen), TOGETHER):
            count += _keep(session, context, rack_id, seen[begin : begin + TOGETHER])
    return count


def release(context: Context, lease_id: int) -> None:
    """Have the servers that hold a lease end it: its address is free at once.

    The client is not told, and uses the address until it renews, which is then refused; so end leases of machines that
    are gone or off.  Each of a pair of racks ends its own.  Unanswered when one of them did not.
    Conflict when the address has meanwhile been leased to another client.
    """
    context.require("operator", "release leases")
    with context.store.read() as session:
        lease = session.get(Lease, lease_id)
        if lease is None:
            raise NotFound(f"there is no lease {lease_id}; it may have ended", field="lease_id")
        here = Lease.subnet_id == lease.subnet_id, Lease.address == lease.address
        rack_ids = list(session.scalars(select(Lease.rack_id).where(*here).order_by(Lease.rack_id)))
    body = {"address": lease.address, "mac": lease.mac, "duid": lease.duid}
    replies = rack_questions.ask(context, rack_questions.END_LEASE, dict.fromkeys(rack_ids, body), RELEASE_SECONDS)
    others = [reply.answer["holder"] for reply in replies.values() if reply.answer and reply.answer.get("holder")]
    if others:
        raise Conflict(
            f"{lease.address} is leased to {others[0]} by now, not to {lease.mac or lease.duid}; list the leases again",
            rule="a lease is ended of the client that it was asked for",
        )
    done = [rack_id for rack_id, reply in replies.items() if reply.answer is not None]
    with changing(context) as session:
        for rack_id in sorted(done):
            hold(session, f"leases:{rack_id}")
        # Its address may be another client's by now: one that was waiting for it, or the first who came.
        same = (Lease.mac == lease.mac, Lease.duid == lease.duid)
        _forget(session, session.scalars(select(Lease).where(*here, *same, Lease.rack_id.in_(done))))
        if done:
            audit(session, context, "release", "lease", lease_id, address=lease.address, mac=lease.mac)
    silent = [f"rack {reply.rack}: {reply.reason}" for reply in replies.values() if reply.answer is None]
    if silent:
        raise Unanswered(
            f"the lease of {lease.address} is not ended everywhere: {'; '.join(silent)}",
            remedy="look at the rack's page and log, then try again",
        )


def expire(context: Context) -> int:
    """Forget the leases whose time is over; how many. Nothing is written when there are none."""
    over = select(Lease).where(Lease.expires_at <= context.clock()).order_by(Lease.id).limit(TOGETHER)
    with context.store.read() as session:
        if session.scalar(over.with_only_columns(Lease.id).limit(1)) is None:
            return 0
    with changing(context) as session:
        return _forget(session, session.scalars(over.with_for_update()))  # One that is renewed meanwhile stays.


def _missing(session: Session, rack_id: int, seen: Sequence[SeenLease], span: tuple[str, str]) -> list[Lease]:
    """The rack's leases between two addresses that are not among those seen."""
    first, last = (parse_address(address, "span") for address in span)
    kept = {str(parse_address(one.address, "address")) for one in seen}
    is_six = Lease.address.contains(":")
    statement = select(Lease).where(
        Lease.rack_id == rack_id,
        Lease.address_key >= address_key(first),
        Lease.address_key <= address_key(last),
        is_six if first.version == 6 else ~is_six,
    )
    return [row for row in session.scalars(statement) if row.address not in kept]


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
        count += is_new or session.is_modified(row)
        if is_new or (row.hostname, row.mac) != before:
            session.flush()
            put_lease_name(session, row, subnet)
    return count


def _forget(session: Session, rows: Iterable[Lease]) -> int:
    leases = sorted(rows, key=lambda row: row.subnet_id)  # In the order of the locks that names may take.
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
