"""Renumbering a subnet: everything in it moves to another network of the same VLAN, batch by batch.

Both networks are valid until all is moved, and nobody is ever promised two addresses: in one transaction an owner's
addresses, links, DHCP hosts, names and pointers leave the old network and are in the new one.  Whoever was not moved yet is
right with the old address.  So it may be ended, or fail, after any batch: the old subnet then holds the rest, and asking
again goes on; asking from the new network to the old one takes it back.

The new network is a subnet of its own: DHCP servers know a subnet by its number, and leases of the old one must not be
taken for those of the new.  Dynamic ranges move at once, before anybody does, so that new clients are in the new network;
all the rest of it is kept from being handed out until everything has had its place.  The racks serve the new network
before the first batch is written.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import jobs, subnets
from app.services.addressing import address_key, address_of, open_parts, parse_network, usable
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.discovery import give_way
from app.services.fabrics import NETWORK_LOCK
from app.services.rack_interfaces import attach_all
from app.services.renumber_moves import KIND, move_ranges, span
from app.services.renumber_plan import CLOSED, Shift, movable, problems, ranges_of, target_of
from app.services.subnet_rules import refuse_overlap
from app.store.locks import hold
from app.store.models import DhcpSnippet, DhcpSnippetRevision, IpRange, Job, Rack, StaticRoute, Subnet

_COPIED = (
    "domain_id", "managed", "lease_seconds", "boot_lease_seconds", "description", "reverse_dns", "allow_dns",
    "allow_proxy", "disabled_boot_architectures", "unknown_clients", "slaac",
)  # fmt: skip
_COPIED_OF_SNIPPET = ("description", "kind", "enabled", "scope", "body", "checked", "checked_by")


def start(context: Context, subnet_id: int, cidr: str, *, force: bool = False) -> Job:
    """Begin to renumber a subnet. The first thing that speaks against it is raised (`renumber_plan.problems`).

    force: also while addresses of its dynamic ranges are leased; those clients keep them until they ask again.
    """
    context.require("admin", "renumber subnets")
    network = parse_network(cidr, "cidr")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        subnet, there = subnets.subnet_row(session, subnet_id), target_of(session, network)
        for number in sorted({subnet.id, subnet.id if there is None else there.id}):
            hold(session, subnets.address_lock(number))
        for problem in problems(session, context, subnet, network, there, force):
            raise problem
        target = give_way(session, network) or target_of(session, network)
        shift = Shift(parse_network(subnet.cidr), network)
        if target is None or target.found:
            target = _make(session, context, subnet, target, shift)
        move_ranges(session, subnet, target, shift, ("dynamic",))
        touch_racks(session, session.scalars(select(Rack.id)))
        common = {"source": subnet.id, "target": target.id}
        named = zip(("machine", "device", "address"), movable(session, subnet.id), strict=True)
        items = [{**common, what: number} for what, numbers in named for number in numbers]
        audit(session, context, "renumber", "subnet", subnet.id, cidr=[subnet.cidr, target.cidr], target=target.id)
        return jobs.begin(session, context, KIND, items, [{**common, "end": word} for word in ("open", "close")])


def _make(session: Session, context: Context, subnet: Subnet, found: Subnet | None, shift: Shift) -> Subnet:
    """The new network as a subnet, with what the old one's settings, routes and snippets are at its place."""
    target = found or Subnet(cidr=str(shift.new))
    if found is None:
        refuse_overlap(session, shift.new)
    values = {name: getattr(subnet, name) for name in _COPIED}
    values |= {
        "name": str(shift.new) if subnet.name == subnet.cidr else subnet.name,
        "vlan_id": subnet.vlan_id,
        "gateway": shift.of(subnet.gateway) if subnet.gateway else None,
        "dns_servers": [shift.of(one) for one in subnet.dns_servers],
        "found": False,
    }
    for column, value in values.items():
        setattr(target, column, value)
    session.add(target)
    session.flush()
    attach_all(session, context)
    for route in session.scalars(select(StaticRoute).where(StaticRoute.source_id == subnet.id)).all():
        session.add(_route(route, target.id, route.destination_id, shift.of(route.gateway)))
    for route in session.scalars(select(StaticRoute).where(StaticRoute.destination_id == subnet.id)).all():
        session.add(_route(route, route.source_id, target.id, route.gateway))
    for one in session.scalars(select(DhcpSnippet).where(DhcpSnippet.subnet_id == subnet.id)).all():
        copy = {name: getattr(one, name) for name in _COPIED_OF_SNIPPET}
        begin = DhcpSnippetRevision(revision=1, body=one.body, actor=context.actor.name, at=context.clock())
        name = f"{one.name} ({target.cidr})"
        session.add(DhcpSnippet(name=name, subnet_id=target.id, created_at=context.clock(), history=[begin], **copy))
    if target.managed:
        dynamic = [span(one, shift) for one in ranges_of(session, subnet.id, "dynamic")]
        for first, last in open_parts(usable(shift.new), dynamic):
            ends = address_of(first, shift.new), address_of(last, shift.new)
            session.add(_range(target.id, "reserved", *ends, f"{CLOSED} {subnet.cidr}"))
    audit(session, context, "create", "subnet", target.id, cidr=target.cidr, renumbered=subnet.cidr)
    session.flush()
    return target


def _range(subnet_id: int, kind: str, start: str, end: str, comment: str) -> IpRange:
    return IpRange(
        subnet_id=subnet_id, kind=kind, start=start, end=end, start_key=address_key(start), end_key=address_key(end),
        comment=comment,
    )  # fmt: skip


def _route(like: StaticRoute, source_id: int, destination_id: int, gateway: str) -> StaticRoute:
    return StaticRoute(source_id=source_id, destination_id=destination_id, gateway=gateway, metric=like.metric)
