"""Addresses of machines: given at deploy, taken back at release, never the same one twice.

An address is found by walking over what is blocked, in order, a page at a time; so a /8 or a /64 costs memory for one
page.  Whoever gives addresses of a subnet holds its lock, and the database refuses a second row for an address
(`uq_ip_address_subnet_id_address`) should anything slip past the lock; then the next address is tried.
With the address go its records: the DHCP host, the A or AAAA RRset and the PTR.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload, selectinload

from app.services import versions
from app.services.addressing import (
    Interval,
    address_key,
    address_of,
    first_free,
    number_key,
    parse_address,
    parse_network,
    usable,
)
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.names import fqdn
from app.services.records import put_host, put_names, put_pointer
from app.services.subnets import address_lock, subnet_of, subnet_row
from app.store.locks import hold
from app.store.models import Domain, Interface, IpAddress, IpRange, Machine, Subnet
from app.store.queries.page import page

__all__ = ["claim", "delete", "find", "free", "get", "renamed", "reserve", "subnet_of"]
PAGE = 1000
ATTEMPTS = 20
NAMED = ("auto", "sticky")
_OF_MACHINE = Interface.machine_id == bindparam("machine_id")
_AUTOMATIC = (
    select(IpAddress, Interface.mac)
    .join(Interface, Interface.id == IpAddress.interface_id)
    .where(_OF_MACHINE, IpAddress.kind == "auto")
    .options(joinedload(IpAddress.subnet).joinedload(Subnet.domain))
)
_MINE = (
    select(IpAddress)
    .where(IpAddress.interface_id == bindparam("interface_id"), IpAddress.subnet_id == bindparam("subnet_id"))
    .where(IpAddress.kind.in_(NAMED))
    .order_by(IpAddress.id)
    .limit(1)
)
_HELD = (
    select(IpAddress.address)
    .join(Interface, Interface.id == IpAddress.interface_id)
    .where(_OF_MACHINE, IpAddress.kind.in_(NAMED))
    .order_by(IpAddress.address_key)
)
_USED = (
    select(IpAddress.address_key)
    .where(IpAddress.subnet_id == bindparam("subnet_id"), IpAddress.address_key > bindparam("after"))
    .order_by(IpAddress.address_key)
    .limit(PAGE)
)
_RANGES = (
    select(Subnet.gateway, IpRange.start_key, IpRange.end_key)
    .outerjoin(IpRange, IpRange.subnet_id == Subnet.id)
    .where(Subnet.id == bindparam("subnet_id"))
)
_BOOT_INTERFACE = select(Interface).where(_OF_MACHINE).order_by(Interface.boot.desc(), Interface.id).limit(1)
_INSERT = {
    name: insert(IpAddress)
    .on_conflict_do_nothing(index_elements=[IpAddress.subnet_id, IpAddress.address])
    .returning(IpAddress.id)
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_SUBNET = select(Subnet).where(Subnet.id == bindparam("subnet_id")).options(joinedload(Subnet.domain))
_SUBNET_OF_VLAN = (
    select(Subnet)
    .where(Subnet.vlan_id == bindparam("vlan_id"), Subnet.managed, ~Subnet.cidr.contains(":"))
    .options(joinedload(Subnet.domain))
    .order_by(Subnet.id)
    .limit(1)
)


def find(
    context: Context,
    subnet_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    *,
    machine_id: int | None = None,
    rack_id: int | None = None,
    kind: str | None = None,
    address: str | None = None,
    hostname: str | None = None,
) -> list[IpAddress]:
    """A page of addresses in use by id; only those that are as asked."""
    wanted = {"subnet_id": subnet_id, "rack_id": rack_id, "kind": kind, "hostname": hostname}
    statement = select(IpAddress).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if machine_id is not None:
        of_machine = select(Interface.id).where(Interface.machine_id == machine_id)
        statement = statement.where(IpAddress.interface_id.in_(of_machine))
    if address is not None:
        statement = statement.where(IpAddress.address_key == address_key(parse_address(address, "address")))
    with context.store.read() as session:
        return list(session.scalars(page(statement, IpAddress.id, after, limit)))


def claim(session: Session, context: Context, machine: Machine) -> str:
    """Give the machine an address in its boot interface's subnet, with host, name and pointer records.

    The address it has there already is kept.  Conflict when there is no subnet or no free address.
    """
    interface = _boot_interface(session, machine)
    subnet = _subnet_of_interface(session, machine, interface)
    hold(session, address_lock(subnet.id))
    row = session.scalar(_MINE, {"interface_id": interface.id, "subnet_id": subnet.id})
    if row is None:
        address = _insert_free(session, context, machine, interface, subnet)
    else:
        address, row.hostname = row.address, machine.hostname
    _put_address(session, machine, interface, address, subnet)
    _put_machine_names(session, machine)
    return address


def free(session: Session, context: Context, machine: Machine) -> None:
    """Take the machine's automatic addresses back, and the records of all that go. Sticky addresses stay."""
    rows = session.execute(_AUTOMATIC, {"machine_id": machine.id}).all()
    if not rows:
        return
    for row, mac in rows:
        subnet = row.subnet
        put_host(session, subnet.vlan_id, subnet.id, mac, None, machine.hostname)
        put_pointer(session, row.address, subnet.cidr, subnet.domain.ttl_seconds, None)
        audit(session, context, "free", "address", row.id, address=row.address, machine=machine.hostname)
        session.delete(row)
    session.flush()  # What is held from now on is asked of the database.
    _put_machine_names(session, machine)


def renamed(
    session: Session, context: Context, machine: Machine, old_hostname: str, old_domain_id: int | None = None
) -> None:
    """Move the records of a machine to its new name, after hostname or domain_id have changed."""
    domain = session.get(Domain, old_domain_id or machine.domain_id)
    if domain is not None:
        put_names(session, domain.name, fqdn(old_hostname, domain.name), domain.ttl_seconds, [])
    statement = (
        select(IpAddress, Interface)
        .join(Interface, Interface.id == IpAddress.interface_id)
        .where(Interface.machine_id == machine.id, IpAddress.kind.in_(NAMED))
        .options(selectinload(IpAddress.subnet).selectinload(Subnet.domain))
    )
    for row, interface in session.execute(statement).all():
        row.hostname = machine.hostname
        _put_address(session, machine, interface, row.address, row.subnet)
    _put_machine_names(session, machine)


def reserve(context: Context, subnet_id: int, address: str, hostname: str | None = None) -> IpAddress:
    """Keep one address of a subnet for something that Muster does not manage. Conflict when it is in use."""
    context.require("operator", "reserve addresses")
    parsed = parse_address(address, "address")
    with changing(context) as session:
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        network = parse_network(subnet.cidr)
        low, high = usable(network)
        if parsed.version != network.version or not low <= int(parsed) <= high:
            raise Invalid(
                f"address {parsed} is no host address of subnet {network}; choose one inside",
                field="address",
                rule="an address lies in its subnet",
            )
        key = address_key(parsed)
        dynamic = session.scalar(
            select(IpRange).where(
                IpRange.subnet_id == subnet_id,
                IpRange.kind == "dynamic",
                IpRange.start_key <= key,
                IpRange.end_key >= key,
            )
        )
        if dynamic is not None:
            raise Conflict(
                f"address {parsed} lies in the dynamic range {dynamic.start}-{dynamic.end} of subnet {network}; choose"
                " another or shorten the range",
                field="address",
                rule="a dynamic range holds no address in use",
            )
        if subnet.gateway == str(parsed):
            raise Conflict(
                f"address {parsed} is the gateway of subnet {network}; choose another, or give the subnet another gateway",
                field="address",
                rule="the gateway is nobody's address",
            )
        other = session.scalar(select(IpAddress).where(IpAddress.subnet_id == subnet_id, IpAddress.address_key == key))
        if other is not None:
            raise Conflict(
                f"address {parsed} of subnet {network} is given to {other.hostname or other.kind} already; choose another",
                field="address",
                rule="an address is given once",
            )
        row = IpAddress(
            subnet_id=subnet_id,
            address=str(parsed),
            address_key=key,
            kind="user_reserved",
            hostname=hostname,
            created_at=context.clock(),
        )
        session.add(row)
        session.flush()
        audit(session, context, "reserve", "address", row.id, address=row.address)
        return row


def get(context: Context, address_id: int) -> IpAddress:
    """One address in use. NotFound when there is none."""
    with context.store.read() as session:
        row = session.get(IpAddress, address_id)
    if row is None:
        raise NotFound(f"there is no address {address_id}; list the addresses", field="address_id")
    return row


def delete(context: Context, address_id: int) -> None:
    """Give a reserved address back. Conflict for addresses that machines or racks hold."""
    context.require("operator", "free reserved addresses")
    with changing(context) as session:
        row = session.get(IpAddress, address_id, with_for_update=True)
        if row is None:
            raise NotFound(f"there is no address {address_id}", field="address_id")
        versions.check(context, row, f"address {row.address}")
        if row.kind != "user_reserved":
            raise Conflict(
                f"address {row.address} is held by {row.hostname or row.kind} ({row.kind}); release the machine or change"
                " the rack instead",
                rule="only reserved addresses are freed by hand",
            )
        audit(session, context, "free", "address", row.id, address=row.address)
        session.delete(row)


def lowest_free(session: Session, subnet: Subnet) -> str | None:
    """The lowest address of a subnet that nobody has: outside its ranges, not the gateway, not in use."""
    network = parse_network(subnet.cidr)
    # The gateway is read anew: it may have changed between the subnet's loading and the lock.
    rows = session.connection().execute(_RANGES, {"subnet_id": subnet.id}).all()
    ranges = [(int(start, 16), int(end, 16)) for _, start, end in rows if start is not None]
    if rows and rows[0].gateway:
        gateway = int(parse_address(rows[0].gateway))
        ranges.append((gateway, gateway))
    number = first_free(usable(network), heapq.merge(sorted(ranges), _used(session, subnet.id)))
    return None if number is None else address_of(number, network)


def _used(session: Session, subnet_id: int) -> Iterator[Interval]:
    """Addresses in use, in order, fetched a page at a time and only as far as somebody reads."""
    last = ""
    while True:
        keys = list(session.connection().scalars(_USED, {"subnet_id": subnet_id, "after": last}))
        for key in keys:
            number = int(key, 16)
            yield number, number
        if len(keys) < PAGE:
            return
        last = keys[-1]


def _insert_free(session: Session, context: Context, machine: Machine, interface: Interface, subnet: Subnet) -> str:
    write = _INSERT[session.get_bind().dialect.name]
    for _ in range(ATTEMPTS):
        address = lowest_free(session, subnet)
        if address is None:
            break
        values = {
            "subnet_id": subnet.id,
            "address": address,
            "address_key": number_key(int(parse_address(address))),
            "kind": "auto",
            "interface_id": interface.id,
            "hostname": machine.hostname,
            "created_at": context.clock(),
        }
        row_id = session.connection().execute(write, values).scalar_one_or_none()
        if row_id is not None:
            audit(session, context, "claim", "address", row_id, address=address, machine=machine.hostname)
            return address
    raise Conflict(
        f"subnet {subnet.cidr}: no free address for {machine.hostname}; all outside its ranges are given: shorten a range"
        " or release machines",
        rule="an address is given once",
    )


def _boot_interface(session: Session, machine: Machine) -> Interface:
    interface = session.scalar(_BOOT_INTERFACE, {"machine_id": machine.id})
    if interface is None:
        raise Conflict(f"machine {machine.hostname} has no network interface; commission it first")
    return interface


def _subnet_of_interface(session: Session, machine: Machine, interface: Interface) -> Subnet:
    subnet = None
    if interface.subnet_id is not None:
        subnet = session.scalar(_SUBNET, {"subnet_id": interface.subnet_id})
    elif interface.vlan_id is not None:
        subnet = session.scalar(_SUBNET_OF_VLAN, {"vlan_id": interface.vlan_id})
    if subnet is None:
        raise Conflict(
            f"machine {machine.hostname}: its boot interface {interface.name} ({interface.mac}) is in no subnet that"
            " Muster manages; commission the machine, or add the subnet to its VLAN"
        )
    if not subnet.managed:
        raise Conflict(
            f"machine {machine.hostname}: subnet {subnet.cidr} of its boot interface is not managed; switch that on to"
            " have addresses given",
            rule="addresses are given in managed subnets only",
        )
    return subnet


def _put_address(session: Session, machine: Machine, interface: Interface, address: str, subnet: Subnet) -> None:
    """Note the DHCP host and the pointer of one address."""
    domain = session.get(Domain, machine.domain_id) or subnet.domain
    put_host(session, subnet.vlan_id, subnet.id, interface.mac, address, machine.hostname)
    put_pointer(session, address, subnet.cidr, domain.ttl_seconds, fqdn(machine.hostname, domain.name))


def _put_machine_names(session: Session, machine: Machine) -> None:
    """Note the A and AAAA RRsets of the machine's name, from all addresses it has now."""
    domain = session.get(Domain, machine.domain_id)
    if domain is None:
        return
    owner = fqdn(machine.hostname, domain.name)
    held = session.connection().scalars(_HELD, {"machine_id": machine.id})
    put_names(session, domain.name, owner, domain.ttl_seconds, list(held))
