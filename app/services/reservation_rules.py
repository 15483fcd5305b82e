"""What is right for reservations: what has to be known of many at once, and the refusals, each with both sides."""

from __future__ import annotations

import bisect
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.services import hostnames
from app.services.addressing import Network, address_key, parse_address, supernets, usable
from app.services.boot import canonical_mac
from app.services.errors import Conflict, Invalid, NotFound, ServiceError
from app.services.subnets import address_lock
from app.store.locks import hold
from app.store.models import Device, Interface, IpAddress, IpRange, Machine, Rack, Subnet
from app.store.queries.serving import racks_of_vlans

LONGEST_COMMENT = 1000


@dataclass(frozen=True)
class Wanted:
    """A reservation as somebody asks for it."""

    address: str
    mac: str
    hostname: str | None = None
    comment: str = ""
    subnet_id: int | None = None


@dataclass(frozen=True)
class Checked:
    """A reservation in canonical form. number: its place in a batch, from 1; None when it comes alone."""

    address: str
    key: str
    mac: str
    hostname: str | None
    comment: str
    subnet_id: int
    number: int | None


@dataclass(frozen=True)
class Place:
    """A subnet that reservations are asked for in. dhcpd: whether a rack serves it that leases what is in its ranges."""

    id: int
    cidr: str
    network: Network
    gateway: str | None
    vlan_id: int
    domain_id: int
    dhcpd: bool


@dataclass
class Found:
    """What stands in the way of a batch, as far as is known; `take` adds what the batch itself takes."""

    parsed: list[Checked]
    places: dict[int, Place]
    by_key: dict[tuple[int, str], IpAddress | Checked] = field(default_factory=dict)
    by_mac: dict[tuple[int, str], IpAddress | Checked] = field(default_factory=dict)
    interfaces: dict[str, tuple[int, str, str, str]] = field(default_factory=dict)
    """MAC to id and name of the interface, kind and name of its owner."""
    ranges: dict[int, list[IpRange]] = field(default_factory=dict)
    names: dict[str, list[hostnames.Holder]] = field(default_factory=dict)

    def same(self, one: Checked) -> IpAddress | None:
        """The reservation that is there already, just as it is asked for."""
        there = self.by_key.get((one.subnet_id, one.key))
        if not isinstance(there, IpAddress) or there.kind != "reservation":
            return None
        alike = (there.mac, there.hostname, there.comment) == (one.mac, one.hostname, one.comment)
        return there if alike and one.number is not None else None

    def take(self, one: Checked) -> None:
        """Count a reservation among what is there."""
        self.by_key[one.subnet_id, one.key] = self.by_mac[one.subnet_id, one.mac] = one
        if one.hostname:
            domain_id = self.places[one.subnet_id].domain_id
            holder = hostnames.Holder(one.hostname, "reservation", 0, one.mac, domain_id)
            self.names.setdefault(one.hostname, []).append(holder)


def look_up(session: Session, wanted: Sequence[Wanted]) -> Found:
    """Read what the rules ask about, with the addresses of the subnets locked. At most nine queries and the locks."""
    shapes = [_shape(one, number if len(wanted) > 1 else None) for number, one in enumerate(wanted, 1)]
    ids = _subnets(session, [(shape[0], one.subnet_id) for shape, one in zip(shapes, wanted, strict=True)])
    for subnet_id in sorted(set(ids)):
        hold(session, address_lock(subnet_id))
    parsed = [
        Checked(str(address), address_key(address), mac, hostname, one.comment, subnet_id, number)
        for (address, mac, hostname, number), one, subnet_id in zip(shapes, wanted, ids, strict=True)
    ]
    found = Found(parsed, _places(session, set(ids)))
    macs = {one.mac for one in parsed}
    # Asked for the subnets as well, SQLite would read all that is in them.
    there = select(IpAddress).where(
        or_(
            IpAddress.address_key.in_({one.key for one in parsed}),
            and_(IpAddress.kind == "reservation", IpAddress.mac.in_(macs)),
        ),
    )
    for row in session.scalars(there):
        found.by_key[row.subnet_id, row.address_key] = row
        if row.kind == "reservation" and row.mac is not None:
            found.by_mac[row.subnet_id, row.mac] = row
    owners = (
        select(Interface.mac, Interface.id, Interface.name, Machine.hostname, Device.hostname)
        .outerjoin(Machine, Machine.id == Interface.machine_id)
        .outerjoin(Device, Device.id == Interface.device_id)
        .where(Interface.mac.in_(macs))
    )
    for mac, interface_id, name, machine, device in session.execute(owners):
        found.interfaces[mac] = (interface_id, name, "machine" if machine else "device", machine or device)
    if leasing := [place.id for place in found.places.values() if place.dhcpd]:
        dynamic = select(IpRange).where(IpRange.subnet_id.in_(leasing), IpRange.kind == "dynamic")
        for span in session.scalars(dynamic):
            found.ranges.setdefault(span.subnet_id, []).append(span)
    found.names = hostnames.holders(session, {one.hostname for one in parsed if one.hostname})
    return found


def check(found: Found, one: Checked, *, me: int | None = None, owned: bool = False) -> None:
    """Refuse what is not right. me: the reservation that is changed; owned: it belongs to an interface, as it should."""
    place = found.places[one.subnet_id]
    label = f"{_row(one.number)}reservation {one.address} for {one.mac} in subnet {place.cidr}"
    low, high = usable(place.network)
    address = parse_address(one.address)
    if address.version != place.network.version or not low <= int(address) <= high:
        raise Invalid(
            f"{label}: {one.address} is no host address of the subnet; choose one inside",
            field="address",
            rule="an address lies in its subnet",
        )
    if place.gateway == one.address:
        raise Conflict(
            f"{label}: {one.address} is the subnet's gateway; choose another, or give the subnet another gateway",
            field="address",
            rule="the gateway is nobody's address",
        )
    _check_holder(found, one, label, me)
    other = found.by_mac.get((one.subnet_id, one.mac))
    if other is not None and getattr(other, "id", None) != me:
        raise Conflict(
            f"{label}: {one.mac} has {other.address} reserved there already; change that reservation instead",
            field="mac",
            rule="a MAC address has one reservation in a subnet",
        )
    if not owned and (interface := found.interfaces.get(one.mac)) is not None:
        interface_id, name, kind, hostname = interface
        raise Conflict(
            f"{label}: {one.mac} is the interface {name} of {kind} {hostname}; link that interface to the subnet with"
            " mode static and this address instead",
            field="mac",
            rule="a MAC address belongs to one machine, device or reservation",
            remedy=f"muster interface link {interface_id} --subnet {place.id} --mode static --address {one.address}",
        )
    for span in found.ranges.get(one.subnet_id, ()):
        if span.start_key <= one.key <= span.end_key:
            raise Conflict(
                f"{label}: it lies in the dynamic range {span.start}-{span.end}, and the rack's dhcpd may lease it to"
                " another client; choose an address outside, shorten the range, or have the rack run Kea",
                field="address",
                rule="dhcpd keeps reservations out of its ranges",
            )
    if one.hostname and not owned:
        for holder in found.names.get(one.hostname, ()):
            if holder.excludes(place.domain_id, one.mac, ("reservation", me) if me is not None else None):
                raise hostnames.taken(holder)


def _check_holder(found: Found, one: Checked, label: str, me: int | None) -> None:
    holder = found.by_key.get((one.subnet_id, one.key))
    if holder is None or (me is not None and getattr(holder, "id", None) == me):
        return
    if isinstance(holder, Checked):
        raise Conflict(
            f"{label}: row {holder.number} asks for the same address, for {holder.mac}; choose another for one of them",
            field="address",
            rule="an address is given once",
        )
    who = f"reserved for {holder.mac}" if holder.kind == "reservation" else f"given to {holder.hostname or holder.kind}"
    raise Conflict(
        f"{label}: {one.address} is {who} ({holder.kind}, address {holder.id}); choose another, or free that one first",
        field="address",
        rule="an address is given once",
    )


def _row(number: int | None) -> str:
    return f"row {number}: " if number is not None else ""


def _shape(
    one: Wanted, number: int | None
) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, str, str | None, int | None]:
    """Address, MAC and hostname in canonical form. Invalid names the row."""
    try:
        if len(one.comment) > LONGEST_COMMENT:
            raise Invalid(f"the comment has {len(one.comment)} characters; at most {LONGEST_COMMENT}", field="comment")
        hostname = hostnames.checked(one.hostname) if one.hostname else None
        return parse_address(one.address, "address"), canonical_mac(one.mac), hostname, number
    except Invalid as error:
        if number is None:
            raise
        raise Invalid(f"row {number}: {error.detail}", field=error.field, rule=error.rule) from error


def _subnets(
    session: Session, asked: Sequence[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int | None]]
) -> list[int]:
    """The subnet of each: the one that is named, else the one that holds the address. One query."""
    if all(subnet_id is not None for _, subnet_id in asked):
        return [int(subnet_id or 0) for _, subnet_id in asked]
    statement = select(Subnet.id, Subnet.cidr)
    if len(asked) == 1:
        statement = statement.where(Subnet.cidr.in_(list(supernets(asked[0][0]))))
    spans = sorted(
        (network.version, int(network.network_address), int(network.broadcast_address), subnet_id)
        for subnet_id, cidr in session.execute(statement)
        for network in (ipaddress.ip_network(cidr),)
    )
    found = []
    for address, subnet_id in asked:
        index = bisect.bisect_right(spans, (address.version, int(address), 1 << 129, 0)) - 1
        span = spans[index] if index >= 0 else None
        if subnet_id is None and (span is None or span[0] != address.version or int(address) > span[2]):
            raise Invalid(
                f"address {address}: no subnet holds it; add the subnet first",
                field="address",
                rule="an address lies in its subnet",
            )
        found.append(subnet_id if subnet_id is not None else span[3] if span else 0)
    return found


def _places(session: Session, subnet_ids: set[int]) -> dict[int, Place]:
    """The subnets, as they are once their addresses are locked. NotFound names the first that is not there."""
    rows = session.execute(
        select(Subnet.id, Subnet.cidr, Subnet.gateway, Subnet.vlan_id, Subnet.domain_id).where(
            Subnet.id.in_(subnet_ids)
        )
    ).all()
    serving = racks_of_vlans(session, {row.vlan_id for row in rows})
    of_dhcpd = set(session.scalars(select(Rack.id).where(Rack.dhcp_server == "dhcpd")))
    found = {
        row.id: Place(
            row.id,
            row.cidr,
            ipaddress.ip_network(row.cidr),
            row.gateway,
            row.vlan_id,
            row.domain_id,
            not of_dhcpd.isdisjoint(serving.get(row.vlan_id, ())),
        )
        for row in rows
    }
    if missing := sorted(subnet_ids - set(found)):
        refusal: ServiceError = NotFound(f"there is no subnet {missing[0]}", field="subnet_id")
        raise refusal
    return found
