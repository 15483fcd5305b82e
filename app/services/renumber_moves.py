"""The batches of a renumbering (`app.services.renumbering`): owners and addresses that move, and the end of the work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services import address_records, subnets
from app.services.addressing import address_key, address_of, overlap, parse_network
from app.services.arrival import AWAY
from app.services.changes import audit, touch_vlans
from app.services.context import Context
from app.services.errors import Conflict
from app.services.fabrics import NETWORK_LOCK
from app.services.hostnames import NAMING
from app.services.lease_names import drop_lease_name
from app.services.renumber_plan import CLOSED, INSTALLED, Shift, drawn, ranges_of
from app.services.subnet_rules import refuse_given
from app.store.locks import hold
from app.store.models import (
    Device,
    DhcpSnippet,
    Domain,
    Interface,
    InterfaceLink,
    IpAddress,
    IpRange,
    Lease,
    Machine,
    Offer,
    Rack,
    StaticRoute,
    Subnet,
)  # fmt: skip
from app.store.queries.serving import racks_of_vlans

KIND = "subnets.renumber"


def is_served(context: Context, item: dict[str, Any]) -> bool:
    """Whether every rack that serves the old network, and is there, serves the new one: what is moved there is right."""
    with context.store.read() as session:
        target = session.get(Subnet, item["target"])
        if target is None:
            return True
        racks = racks_of_vlans(session, [target.vlan_id]).get(target.vlan_id, ())
        since = context.clock() - AWAY
        running = (
            select(Offer.content)
            .join(Rack, sa.and_(Rack.id == Offer.rack_id, Rack.applied_offer == Offer.number))
            .where(Rack.id.in_(racks), Rack.seen_at > since)
        )
        served = [{one["subnet_id"] for one in json.loads(text)["subnets"]} for text in session.scalars(running)]
    return all(target.id in one or item["source"] not in one for one in served)


def put_many(session: Session, context: Context, items: Sequence[dict[str, Any]]) -> list[int]:
    """Move owners and addresses, or carry out an end of the work; a constant number of statements."""
    if any("end" in item for item in items):
        hold(session, NETWORK_LOCK)
    hold(session, NAMING)
    source, target = (session.get(Subnet, items[0][name]) for name in ("source", "target"))
    if source is None or target is None:
        raise Conflict("one of the two subnets was deleted meanwhile", rule="both networks stay until all is moved")
    machines = _machines(session, [item["machine"] for item in items if "machine" in item])
    for number in sorted((source.id, target.id)):
        hold(session, subnets.address_lock(number))
    shift = Shift(parse_network(source.cidr), parse_network(target.cidr))
    devices = [item["device"] for item in items if "device" in item]
    addresses = [item["address"] for item in items if "address" in item]
    _move(session, context, source, target, shift, machines, devices, addresses)
    for item in items:
        if item.get("end") == "open":
            _open(session, source, target, shift)
        elif item.get("end") == "close":
            _close(session, context, source, target)
    return []


def move_ranges(session: Session, source: Subnet, target: Subnet, shift: Shift, kinds: Sequence[str]) -> None:
    """Move ranges of these kinds, with their snippets; one whose place is taken stays."""
    there = [(int(one.start_key, 16), int(one.end_key, 16)) for one in ranges_of(session, target.id)]
    for one in drawn(session, source.id):
        place = span(one, shift)
        if one.kind in kinds and not any(overlap(place, other) for other in there):
            one.subnet_id = target.id
            one.start, one.end = (address_of(number, shift.new) for number in place)
            one.start_key, one.end_key = address_key(one.start), address_key(one.end)
    session.flush()


def _machines(session: Session, ids: Sequence[int]) -> dict[int, tuple[str, int]]:
    """Hostname and domain id of machines, locked. Conflict when one of them is installed by now."""
    wanted = select(Machine.id, Machine.hostname, Machine.domain_id, Machine.state).where(Machine.id.in_(ids))
    found = {}
    for machine_id, hostname, domain_id, state in session.execute(wanted.order_by(Machine.id).with_for_update()):
        if state in INSTALLED:
            raise Conflict(
                f"{hostname} is {State(state).label}, and its system has been told its address; release it, then renumber"
                " again",
                rule="an installed machine keeps its address",
                remedy=f"release {hostname}",
            )
        found[machine_id] = (hostname, domain_id)
    return found


def _move(
    session: Session,
    context: Context,
    source: Subnet,
    target: Subnet,
    shift: Shift,
    machines: dict[int, tuple[str, int]],
    device_ids: Sequence[int],
    address_ids: Sequence[int],
) -> None:
    """Move what these owners have in the old network, and these addresses, with their records."""
    known = select(Device.id, Device.hostname, Device.domain_id).where(Device.id.in_(device_ids))
    devices = {row.id: (row.hostname, row.domain_id) for row in session.execute(known)}
    owners = (("machine", Interface.machine_id, machines), ("device", Interface.device_id, devices))
    before = [address_records.held_of_many(session, column, list(owned)) for _, column, owned in owners]
    theirs = select(Interface.id).where(or_(Interface.machine_id.in_(machines), Interface.device_id.in_(devices)))
    mine = or_(IpAddress.interface_id.in_(theirs), IpAddress.id.in_(address_ids))
    rows = session.scalars(
        select(IpAddress).where(IpAddress.subnet_id == source.id, mine).order_by(IpAddress.address_key)
    ).all()
    moved = {row.id: (row.address, shift.of(row.address)) for row in rows}
    _refuse_taken(session, target, {new: old for old, new in moved.values()})
    _refuse_linked_twice(session, source, target, theirs)
    alone = [row for row in rows if row.kind == "reservation" and row.interface_id is None]
    gone = [address_records.named(row, source) for row in alone]
    for row in rows:
        row.subnet_id, row.address = target.id, moved[row.id][1]
        row.address_key = address_key(row.address)
    session.flush()
    links = sa.update(InterfaceLink).where(InterfaceLink.interface_id.in_(theirs), InterfaceLink.subnet_id == source.id)
    session.execute(links.values(subnet_id=target.id).execution_options(synchronize_session=False))
    cards = sa.update(Interface).where(Interface.id.in_(theirs), Interface.subnet_id == source.id)
    session.execute(cards.values(subnet_id=target.id).execution_options(synchronize_session=False))
    counted = sa.update(Machine).where(Machine.id.in_(machines)).values(version=Machine.version + 1)
    session.execute(counted.execution_options(synchronize_session=False))
    for one in gone:
        address_records.take_away(session, one, source.domain, source.reverse_dns)
    address_records.put_reservations(
        session, [address_records.named(row, target) for row in alone], {target.id: target.domain}
    )
    domain_ids = {domain_id for _, _, owned in owners for _, domain_id in owned.values()}
    domains = {one.id: one for one in session.scalars(select(Domain).where(Domain.id.in_(domain_ids)))}
    for (what, column, owned), held in zip(owners, before, strict=True):
        after = address_records.held_of_many(session, column, list(owned))
        for owner_id, (hostname, domain_id) in owned.items():
            address_records.note(session, hostname, domains[domain_id], held[owner_id], after[owner_id])
            audit(session, context, "renumber", what, owner_id, hostname=hostname, subnet=[source.cidr, target.cidr])
    for row in rows:
        if row.interface_id is None:
            audit(session, context, "renumber", row.kind, row.id, address=list(moved[row.id]))


def _refuse_taken(session: Session, target: Subnet, wanted: dict[str, str]) -> None:
    taken = select(IpAddress).where(IpAddress.subnet_id == target.id, IpAddress.address.in_(wanted))
    if (row := session.scalar(taken.order_by(IpAddress.address_key).limit(1))) is not None:
        raise Conflict(
            f"{wanted[row.address]} cannot become {row.address}: that is given to {row.hostname or row.mac or row.kind}"
            " already; free it, then renumber again",
            rule="an address is given once",
        )


def _refuse_linked_twice(session: Session, source: Subnet, target: Subnet, theirs: Any) -> None:
    links = select(InterfaceLink.interface_id).where(InterfaceLink.interface_id.in_(theirs))
    both = links.where(InterfaceLink.subnet_id == source.id).intersect(
        links.where(InterfaceLink.subnet_id == target.id)
    )
    named = select(Interface.name, sa.func.coalesce(Machine.hostname, Device.hostname)).outerjoin(Interface.machine)
    found = session.execute(named.outerjoin(Interface.device).where(Interface.id.in_(both)).limit(1)).first()
    if found is not None:
        raise Conflict(
            f"interface {found[0]} of {found[1]} is linked to {source.cidr} and to {target.cidr}; take one link away",
            rule="an interface is linked to a subnet once",
        )


def _open(session: Session, source: Subnet, target: Subnet, shift: Shift) -> None:
    """Let the new network be handed out as the old one was: its closing goes, the other ranges come."""
    closing = sa.delete(IpRange).where(IpRange.subnet_id == target.id, IpRange.comment.startswith(CLOSED))
    session.execute(closing.execution_options(synchronize_session="fetch"))
    move_ranges(session, source, target, shift, ("reserved", "static_pool", "dynamic"))
    touch_vlans(session, [source.vlan_id])


def _close(session: Session, context: Context, source: Subnet, target: Subnet) -> None:
    """Take the old network away, if nobody has an address of it any more. Conflict names the first who does."""
    moved = sa.update(Interface).where(Interface.subnet_id == source.id).values(subnet_id=target.id)
    refuse_given(session, source, "taken away yet")
    session.execute(moved.execution_options(synchronize_session=False))
    session.execute(sa.delete(StaticRoute).where(StaticRoute.destination_id == source.id))
    originals = session.scalars(select(DhcpSnippet).where(DhcpSnippet.subnet_id == source.id)).all()
    copies = [f"{one.name} ({target.cidr})" for one in originals]
    session.execute(sa.delete(DhcpSnippet).where(DhcpSnippet.subnet_id == target.id, DhcpSnippet.name.in_(copies)))
    there = set(session.scalars(select(DhcpSnippet.name).where(DhcpSnippet.subnet_id == target.id)))
    for one in originals:
        if one.name.removesuffix(f" ({source.cidr})") not in there:  # Else it is a copy, of one that never left.
            one.subnet_id = target.id
    session.flush()
    for lease in session.scalars(select(Lease).where(Lease.subnet_id == source.id, Lease.name.is_not(None))).all():
        drop_lease_name(session, lease, source)
    subnets.take_away(session, context, source)


def span(one: IpRange, shift: Shift) -> tuple[int, int]:
    """First and last number of a range at its new place."""
    distance = int(shift.new.network_address) - int(shift.old.network_address)
    return int(one.start_key, 16) + distance, int(one.end_key, 16) + distance
