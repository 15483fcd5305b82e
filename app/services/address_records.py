"""What follows from an address in DHCP and DNS: the host of its MAC, the names of its owner, the pointer back.

Every interface has a name.  A machine's or device's own name (`web1.lab.example`) is that of its boot interface, or of
the first interface with an address where the boot interface has none; the addresses of every other interface are at
`<interface>.web1.lab.example`.  A reservation that belongs to no interface has the name that it was given, in its
subnet's domain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.services.held import HeldMachine
from app.services.names import fqdn, interface_label
from app.services.records import put_host, put_names, put_pointer
from app.store.models import Device, Domain, Interface, IpAddress, Machine, Subnet
from app.store.prepared import Prepared

Owner = Machine | HeldMachine | Device
_COLUMNS = (
    IpAddress.id,
    IpAddress.address,
    IpAddress.kind,
    Interface.id.label("interface_id"),
    Interface.name.label("interface"),
    Interface.boot,
    Interface.mac,
    Subnet.id.label("subnet_id"),
    Subnet.cidr,
    Subnet.vlan_id,
    Subnet.reverse_dns,
)
_HELD = (
    select(*_COLUMNS)
    .join(Interface, Interface.id == IpAddress.interface_id)
    .join(Subnet, Subnet.id == IpAddress.subnet_id)
    .order_by(Interface.boot.desc(), Interface.id, IpAddress.address_key)
)
_OF_MACHINE = Prepared(_HELD.where(Interface.machine_id == bindparam("owner_id")))
_OF_DEVICE = Prepared(_HELD.where(Interface.device_id == bindparam("owner_id")))


@dataclass(frozen=True)
class Held:
    """An address of an interface, with what its records need."""

    id: int
    address: str
    kind: str
    interface_id: int
    interface: str
    boot: bool
    mac: str
    subnet_id: int
    cidr: str
    vlan_id: int
    reverse_dns: str


@dataclass(frozen=True)
class Named:
    """An address at a reservation's own name."""

    address: str
    mac: str
    hostname: str | None
    subnet_id: int
    cidr: str
    vlan_id: int


def held(session: Session, owner: Owner) -> list[Held]:
    """The addresses of a machine or a device, those of the boot interface first. One query."""
    rows = (_OF_DEVICE if isinstance(owner, Device) else _OF_MACHINE).all(session, owner_id=owner.id)
    return [Held(*row) for row in rows]


def held_of_many(session: Session, column: Any, ids: Sequence[int]) -> dict[int, list[Held]]:
    """`held` of many owners, by id. column: `Interface.machine_id` or `Interface.device_id`. One query."""
    found: dict[int, list[Held]] = {one: [] for one in ids}
    if ids:
        for owner_id, *row in session.execute(_HELD.with_only_columns(column, *_COLUMNS).where(column.in_(ids))):
            found[owner_id].append(Held(*row))
    return found


def names(name: str, addresses: Sequence[Held]) -> dict[str, list[Held]]:
    """The owner's names, absolute, each with the addresses it has; its own name always stands there.

    name: the owner's own, without a trailing dot; addresses: as `held` orders them.
    """
    own = f"{name}.".lower()
    found: dict[str, list[Held]] = {own: []}
    first = addresses[0].interface_id if addresses else None
    for one in addresses:
        whose = own if one.interface_id == first else f"{interface_label(one.interface)}.{own}"
        found.setdefault(whose, []).append(one)
    return found


def put_owner(
    session: Session, owner: Owner, before: Sequence[Held], *, old_name: tuple[str, Domain] | None = None
) -> list[Held]:
    """Note the hosts, names and pointers of a machine or a device as they are now; those of `before` that are not, go.

    old_name: hostname and domain that the owner had before.  What the owner holds must be flushed; it is returned.
    """
    after = held(session, owner)
    note(session, owner.hostname, session.get_one(Domain, owner.domain_id), before, after, old_name=old_name)
    return after


def note(
    session: Session,
    own: str,
    domain: Domain,
    before: Sequence[Held],
    after: Sequence[Held],
    *,
    old_name: tuple[str, Domain] | None = None,
) -> None:
    """`put_owner` for whoever has looked up what the owner of this hostname and domain holds now. No query."""
    hosts = {(one.subnet_id, one.mac) for one in after}
    pointers = {one.address for one in after}
    for one in before:
        if (one.subnet_id, one.mac) not in hosts:
            put_host(session, one.vlan_id, one.subnet_id, one.mac, None, own)
        if one.address not in pointers:
            put_pointer(session, one.address, one.cidr, domain.ttl_seconds, None, one.reverse_dns)
    hostname, old_domain = old_name or (own, domain)
    now = names(fqdn(own, domain.name)[:-1], after)
    for name in names(fqdn(hostname, old_domain.name)[:-1], before):
        if name not in now or old_domain.id != domain.id:
            put_names(session, old_domain.name, name, old_domain.ttl_seconds, [])
    for name, addresses in now.items():
        put_names(session, domain.name, name, domain.ttl_seconds, [one.address for one in addresses])
        for one in addresses:
            put_host(session, one.vlan_id, one.subnet_id, one.mac, one.address, own)
            put_pointer(session, one.address, one.cidr, domain.ttl_seconds, name, one.reverse_dns)


def put_reservations(session: Session, rows: Iterable[Named], domains: dict[int, Domain]) -> None:
    """Note hosts, names and pointers of reservations that belong to no interface; their rows must be flushed.

    domains: of the subnets, by subnet id.  One query per domain.
    """
    changed: dict[int, set[str]] = defaultdict(set)
    by_id: dict[int, Domain] = {}
    for row in rows:
        put_host(session, row.vlan_id, row.subnet_id, row.mac, row.address, row.hostname or "")
        if row.hostname:
            domain = domains[row.subnet_id]
            by_id[domain.id] = domain
            changed[domain.id].add(row.hostname)
            put_pointer(session, row.address, row.cidr, domain.ttl_seconds, fqdn(row.hostname, domain.name))
    for domain_id, hostnames in changed.items():
        put_reserved_names(session, by_id[domain_id], hostnames)


def drop_reservation(session: Session, row: Named, domain: Domain) -> None:
    """Note that a reservation's host, name and pointer are gone; its row must be gone or changed, and flushed."""
    take_away(session, row, domain)
    if row.hostname:
        put_reserved_names(session, domain, {row.hostname})


def take_away(session: Session, row: Named, domain: Domain, mode: str | None = None) -> None:
    """`drop_reservation` of host and pointer alone. mode: the subnet's `reverse_dns`."""
    put_host(session, row.vlan_id, row.subnet_id, row.mac, None, row.hostname or "")
    if row.hostname:
        put_pointer(session, row.address, row.cidr, domain.ttl_seconds, None, mode)


def put_reserved_names(session: Session, domain: Domain, hostnames: set[str]) -> None:
    """Note the A and AAAA records of names that reservations have in a domain, from all their addresses. One query."""
    statement = (
        select(IpAddress.hostname, IpAddress.address)
        .join(Subnet, Subnet.id == IpAddress.subnet_id)
        .where(
            Subnet.domain_id == domain.id,
            IpAddress.kind == "reservation",
            IpAddress.interface_id.is_(None),
            IpAddress.hostname.in_(hostnames),
        )
        .order_by(IpAddress.address_key)
    )
    found: dict[str, list[str]] = {name: [] for name in hostnames}
    for name, address in session.execute(statement):
        found[str(name)].append(address)
    for name, addresses in found.items():
        put_names(session, domain.name, fqdn(name, domain.name), domain.ttl_seconds, addresses)


def move_reservations(session: Session, subnet: Subnet, left: Domain) -> None:
    """Move the names of a subnet's reservations to its new domain. The subnet must be flushed."""
    rows = list(
        session.scalars(
            select(IpAddress).where(
                IpAddress.subnet_id == subnet.id,
                IpAddress.kind == "reservation",
                IpAddress.interface_id.is_(None),
                IpAddress.hostname.is_not(None),
            )
        )
    )
    if rows:
        put_reserved_names(session, left, {str(row.hostname) for row in rows})
        put_reservations(session, [named(row, subnet) for row in rows], {subnet.id: subnet.domain})


def named(row: IpAddress, subnet: Subnet) -> Named:
    """What the records of a reservation need."""
    return Named(row.address, str(row.mac), row.hostname, subnet.id, subnet.cidr, subnet.vlan_id)
