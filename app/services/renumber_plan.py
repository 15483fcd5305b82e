"""What renumbering a subnet would move, what stays, and what speaks against it.

Everything keeps its place: an address is moved by the distance of the two networks.  An installed machine keeps its
address, because its system has been told it; it stays in the old network until it is released.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services.addressing import Network, address_key, parse_address, parse_network, usable
from app.services.context import Context
from app.services.errors import Conflict, Invalid, ServiceError
from app.services.ranges import refuse_used
from app.services.subnet_rules import checked, refuse_gateway_in_use, refuse_live_lease
from app.services.subnets import subnet_row
from app.store.models import Device, Interface, InterfaceLink, IpAddress, IpRange, Machine, Rack, StaticRoute, Subnet

NAMED = 100
"""How many of those that stay are named."""
INSTALLED = (State.DEPLOYED, *(state for state in State if state.is_transient))
"""In these states a machine's system has been told its addresses, or is being told."""
CLOSED = "closed while it takes over from"
"""So begins the comment of a range that keeps a new network from being handed out; what is drawn by people moves, that does not."""


@dataclass(frozen=True)
class Shift:
    """The way from one network to another."""

    old: Network
    new: Network

    def of(self, address: str) -> str:
        """The address at the same place in the new network; one outside the old network is left as it is.

        Invalid when the new network has no host there.
        """
        parsed = parse_address(address)
        if parsed not in self.old:
            return address
        number = int(parsed) - int(self.old.network_address) + int(self.new.network_address)
        low, high = usable(self.new)
        if not low <= number <= high:
            raise Invalid(
                f"{address} has no place in {self.new}: its hosts are {ipaddress.ip_address(low)} to"
                f" {ipaddress.ip_address(high)}; choose a larger network, or free the address first",
                field="cidr",
                rule="everything that is renumbered fits into the new network",
            )
        return str(type(parsed)(number))


@dataclass(frozen=True)
class MovedRange:
    """A range, and where it will be."""

    kind: str
    start: str
    end: str
    new_start: str
    new_end: str


@dataclass(frozen=True)
class Staying:
    """Somebody who stays in the old network, and why."""

    machine_id: int
    hostname: str
    why: str


@dataclass
class Renumbering:
    """What would happen. machines, devices, addresses: how many move (addresses: those that are nobody's interface's).

    refusals: what speaks against it; empty when it can begin.  target_id: of the new network, where it is there already
    because an earlier renumbering was ended.
    """

    subnet_id: int
    cidr: str
    new_cidr: str
    target_id: int | None
    gateway: str | None = None
    dns_servers: list[str] = field(default_factory=list)
    ranges: list[MovedRange] = field(default_factory=list)
    routes: int = 0
    machines: int = 0
    devices: int = 0
    addresses: int = 0
    staying: list[Staying] = field(default_factory=list)
    staying_count: int = 0
    refusals: list[str] = field(default_factory=list)


def preview(context: Context, subnet_id: int, cidr: str, *, force: bool = False) -> Renumbering:
    """What renumbering a subnet into this network would do."""
    context.require("admin", "renumber subnets")
    network = parse_network(cidr, "cidr")
    with context.store.read() as session:
        subnet = subnet_row(session, subnet_id)
        target = target_of(session, network)
        found = Renumbering(subnet.id, subnet.cidr, str(network), None if target is None else target.id)
        found.refusals = [problem.detail for problem in problems(session, context, subnet, network, target, force)]
        shift = Shift(parse_network(subnet.cidr), network)
        if shift.old.version == network.version:
            _fill(session, subnet, shift, found)
        return found


def target_of(session: Session, network: Network) -> Subnet | None:
    """The subnet that is this network already."""
    return session.scalar(select(Subnet).where(Subnet.cidr == str(network)))


def problems(
    session: Session, context: Context, subnet: Subnet, network: Network, target: Subnet | None, force: bool
) -> Iterator[ServiceError]:
    """What speaks against it, the gravest first."""
    old, label = parse_network(subnet.cidr), f"subnet {subnet.cidr} cannot be renumbered to {network}"
    if subnet.found:
        yield Conflict(f"{label}: it was only found; change it first, so that it is yours", field="cidr")
        return
    if network.version != old.version:
        yield Invalid(f"{label}: one is IPv4, the other IPv6; choose a network of the same family", field="cidr")
        return
    if network.overlaps(old):
        yield Invalid(
            f"{label}: they share addresses, and both are valid until all is moved; choose a network beside it",
            field="cidr",
            rule="the networks do not overlap",
        )
        return
    yield from _standing_in_the_way(session, subnet, network, target, label)
    shift = Shift(old, network)
    try:
        for what in _texts(session, subnet):
            shift.of(what)
    except Invalid as error:
        yield Invalid(f"{label}: {error.detail}", field="cidr", rule=error.rule)
    else:
        yield from _in_use(session, subnet, shift, target, label)
    try:
        checked({"slaac": subnet.slaac}, network)
    except Invalid as error:
        yield error
    for rack, address in _racks_without(session, subnet, network):
        yield Conflict(
            f"{label}: rack {rack} has {address} in it and none in {network}, so that it could not serve it; give its"
            " interface an address there first",
            field="cidr",
            rule="a rack that serves a network has an address in it",
        )
    for one in () if force else ranges_of(session, subnet.id, "dynamic"):
        try:
            refuse_live_lease(session, context, subnet, f"{label}: range {one.start}-{one.end}", within=one)
        except Conflict as error:
            yield error
            break


def movable(session: Session, subnet_id: int) -> tuple[list[int], list[int], list[int]]:
    """Ids of what can be moved: machines, devices, and addresses that belong to no interface."""
    tied = _tied(subnet_id)
    machines = select(Machine.id).where(Machine.id.in_(tied(Interface.machine_id)), Machine.state.not_in(INSTALLED))
    devices = select(Device.id).where(Device.id.in_(tied(Interface.device_id)))
    free = select(IpAddress.id).where(
        IpAddress.subnet_id == subnet_id, IpAddress.interface_id.is_(None), IpAddress.kind.not_in(("rack", "bmc"))
    )
    return (
        list(session.scalars(machines.order_by(Machine.id))),
        list(session.scalars(devices.order_by(Device.id))),
        list(session.scalars(free.order_by(IpAddress.address_key))),
    )


def ranges_of(session: Session, subnet_id: int, kind: str | None = None) -> Sequence[IpRange]:
    """The ranges of a subnet, in order; only those of a kind when it is named."""
    statement = select(IpRange).where(IpRange.subnet_id == subnet_id).order_by(IpRange.start_key)
    return session.scalars(statement if kind is None else statement.where(IpRange.kind == kind)).all()


def drawn(session: Session, subnet_id: int) -> list[IpRange]:
    """The ranges of a subnet that people have drawn, in order: those that move."""
    return [one for one in ranges_of(session, subnet_id) if not one.comment.startswith(CLOSED)]


def _tied(subnet_id: int) -> Any:
    """What makes the owners, by this column, of interfaces that have to do with the subnet."""

    def select_(column: Any) -> Any:
        given = select(IpAddress.interface_id).where(IpAddress.subnet_id == subnet_id)
        linked = select(InterfaceLink.interface_id).where(InterfaceLink.subnet_id == subnet_id)
        there = or_(Interface.subnet_id == subnet_id, Interface.id.in_(given), Interface.id.in_(linked))
        return select(column).where(column.is_not(None), there)

    return select_


def _standing_in_the_way(
    session: Session, subnet: Subnet, network: Network, target: Subnet | None, label: str
) -> Iterator[ServiceError]:
    """Other subnets: the same one on another VLAN, and those that overlap. What was only found gives way."""
    if target is not None and target.vlan_id != subnet.vlan_id:
        yield Conflict(
            f"{label}: that subnet is there already (id {target.id}), on another VLAN; choose another network",
            field="cidr",
            rule="subnets do not overlap",
        )
    for other_id, cidr in session.execute(select(Subnet.id, Subnet.cidr).where(~Subnet.found)):
        other = ipaddress.ip_network(cidr)
        if other != network and other.version == network.version and other.overlaps(network):
            yield Conflict(
                f"{label}: it overlaps subnet {other} (id {other_id}); choose another network or delete that one",
                field="cidr",
                rule="subnets do not overlap",
            )


def _in_use(
    session: Session, subnet: Subnet, shift: Shift, target: Subnet | None, label: str
) -> Iterator[ServiceError]:
    """What somebody has by now in the new network: the gateway's place, or one from which DHCP would lease."""
    try:
        refuse_gateway_in_use(session, shift.new, _gateway(subnet, shift))
        if target is None:
            return
        for one in ranges_of(session, subnet.id, "dynamic"):
            start, end = shift.of(one.start), shift.of(one.end)
            refuse_used(session, target, f"{label}: range {start}-{end}", address_key(start), address_key(end))
    except Conflict as error:
        yield error


def _texts(session: Session, subnet: Subnet) -> list[str]:
    """The addresses that decide whether all fits: the lowest and highest given, and what is drawn by hand."""
    given = select(IpAddress.address).where(IpAddress.subnet_id == subnet.id, IpAddress.kind.not_in(("rack", "bmc")))
    ends = [
        session.scalar(given.order_by(order).limit(1))
        for order in (IpAddress.address_key, IpAddress.address_key.desc())
    ]
    vias = select(StaticRoute.gateway).where(StaticRoute.source_id == subnet.id)
    bounds = [text for one in drawn(session, subnet.id) for text in (one.start, one.end)]
    found = [subnet.gateway, *subnet.dns_servers, *ends, *session.scalars(vias), *bounds]
    return [one for one in found if one]


def _gateway(subnet: Subnet, shift: Shift) -> str | None:
    return shift.of(subnet.gateway) if subnet.gateway else None


def _racks_without(session: Session, subnet: Subnet, network: Network) -> Iterator[tuple[str, str]]:
    """Racks that have an address in the subnet and none in the network, with that address."""
    rows = session.execute(
        select(Rack, IpAddress.address)
        .join(IpAddress, IpAddress.rack_id == Rack.id)
        .where(IpAddress.subnet_id == subnet.id, IpAddress.kind == "rack")
        .order_by(Rack.id, IpAddress.address_key)
    )
    for rack, address in rows:
        own = [ipaddress.ip_interface(text).ip for one in rack.interfaces for text in one["addresses"]]
        if not any(one in network for one in own):
            yield rack.name, address


def _fill(session: Session, subnet: Subnet, shift: Shift, found: Renumbering) -> None:
    """Say what moves and what stays; what does not fit is left out, the refusals name it."""
    try:
        found.gateway = _gateway(subnet, shift)
        found.dns_servers = [shift.of(one) for one in subnet.dns_servers]
        found.ranges = [
            MovedRange(one.kind, one.start, one.end, shift.of(one.start), shift.of(one.end))
            for one in drawn(session, subnet.id)
        ]
    except Invalid:
        pass
    either = or_(StaticRoute.source_id == subnet.id, StaticRoute.destination_id == subnet.id)
    found.routes = session.scalar(select(func.count()).select_from(StaticRoute).where(either)) or 0
    machines, devices, addresses = movable(session, subnet.id)
    found.machines, found.devices, found.addresses = len(machines), len(devices), len(addresses)
    held = and_(Machine.id.in_(_tied(subnet.id)(Interface.machine_id)), Machine.state.in_(INSTALLED))
    staying = select(Machine.id, Machine.hostname, Machine.state).where(held).order_by(Machine.hostname)
    found.staying_count = session.scalar(select(func.count()).select_from(Machine).where(held)) or 0
    found.staying = [
        Staying(machine_id, hostname, f"it is {State(state).label}: an installed machine keeps its address")
        for machine_id, hostname, state in session.execute(staying.limit(NAMED))
    ]
