"""Addresses in use: those of machines, given at deploy and taken back at release, and those kept by hand.

Never the same one twice (`app.services.free_space`).  With an address go its records: the DHCP host, the names of its
owner, the pointer (`app.services.address_records`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session, joinedload

from app.services import address_records, versions
from app.services.address_records import Owner
from app.services.addressing import address_key, parse_address, parse_network, usable
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.free_space import PlainSubnet, give
from app.services.held import AnyMachine
from app.services.subnets import address_lock, subnet_of, subnet_row
from app.store.locks import hold
from app.store.models import Device, Domain, Interface, InterfaceLink, IpAddress, IpRange, Subnet
from app.store.prepared import Prepared
from app.store.queries.page import page

__all__ = [
    "KINDS", "check_free", "claim", "delete", "find", "forget", "free", "get", "renamed", "reserve", "subnet_of", "tie",
]  # fmt: skip
KINDS = ("auto", "sticky", "static", "user_reserved", "reservation", "rack", "bmc")
_INTERFACES = Prepared(
    select(
        *(Interface.id, Interface.name, Interface.mac, Interface.vlan_id, Interface.subnet_id),
        *(InterfaceLink.subnet_id.label("linked"), InterfaceLink.mode),
    )
    .outerjoin(InterfaceLink, InterfaceLink.interface_id == Interface.id)
    .where(Interface.machine_id == bindparam("machine_id"))
    .order_by(Interface.boot.desc(), Interface.id, InterfaceLink.id)
)
_PLAIN = select(Subnet.id, Subnet.cidr, Subnet.vlan_id, Subnet.managed)
_SUBNET = Prepared(_PLAIN.where(Subnet.id == bindparam("subnet_id")))
_SUBNET_OF_VLAN = Prepared(
    _PLAIN.where(Subnet.vlan_id == bindparam("vlan_id"))
    .order_by(Subnet.managed.desc(), Subnet.cidr.contains(":"), Subnet.id)
    .limit(1)
)
_FIRST_OF_FAMILY = {
    family: Prepared(
        _PLAIN.where(Subnet.vlan_id == bindparam("vlan_id"), Subnet.managed, is_of_family).order_by(Subnet.id).limit(1)
    )
    for family, is_of_family in ((4, ~Subnet.cidr.contains(":")), (6, Subnet.cidr.contains(":")))
}
_REMEDIES = {
    "reservation": "delete the reservation instead",
    "auto": "release the machine, or unlink the interface",
    "sticky": "unlink the interface instead",
    "static": "unlink the interface instead",
    "rack": "change the rack's interface instead",
    "bmc": "change the machine's power settings instead",
}
_RENAME = update(IpAddress).where(IpAddress.id.in_(bindparam("ids", expanding=True))).values(hostname=bindparam("name"))
_UNTIE = update(IpAddress).where(IpAddress.id.in_(bindparam("ids", expanding=True))).values(interface_id=None)
_FORGET = delete_rows(IpAddress).where(IpAddress.id.in_(bindparam("ids", expanding=True)))


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


def claim(session: Session, context: Context, machine: AnyMachine) -> str | None:
    """Give the machine an address for every link that wants one from Muster, with host, name and pointer records.

    What it has there already is kept: a sticky or static address, or the one that is reserved for the interface's MAC.
    A boot interface without links gets an address in its subnet, and one in the first managed subnet of the other family
    on the same VLAN.  The first address of the boot interface; None when the machine gets all of its addresses by DHCP.
    Conflict when there is no subnet or no free address.
    """
    rows = _INTERFACES.all(session, machine_id=machine.id)
    if not rows:
        raise Conflict(f"machine {machine.hostname} has no network interface; commission it first")
    wanted: dict[int, list[int]] = {}
    for row in rows:
        if row.mode == "auto":
            wanted.setdefault(row.linked, []).append(row.id)
    before = address_records.held(session, machine)
    boot = rows[0]
    own = boot.linked
    subnets: dict[int, PlainSubnet] = {}
    if boot.linked is None:
        subnet = _subnet_of_interface(session, machine, boot)
        other = _FIRST_OF_FAMILY[4 if ":" in subnet.cidr else 6].first(session, vlan_id=subnet.vlan_id)
        own = subnet.id
        for one in (subnet, PlainSubnet(*other)) if other is not None else (subnet,):
            subnets[one.id] = one
            wanted.setdefault(one.id, []).append(boot.id)
    there = {(one.subnet_id, one.interface_id) for one in before}
    missing = sorted(
        (subnet_id, interface_id)
        for subnet_id, interface_ids in wanted.items()
        for interface_id in interface_ids
        if (subnet_id, interface_id) not in there
    )
    for subnet_id in dict.fromkeys(subnet_id for subnet_id, _ in missing):  # In the order that all lock them in.
        if subnet_id not in subnets:
            subnets[subnet_id] = PlainSubnet(*_SUBNET.one(session, subnet_id=subnet_id))
        hold(session, address_lock(subnet_id))
    for subnet_id, interface_id in missing:
        give(session, context, subnets[subnet_id], "auto", interface_id, machine.hostname)
    held = address_records.put_owner(session, machine, before)
    first = next((one for one in held if one.subnet_id == own), held[0] if held else None)
    return first.address if first is not None else None


def free(session: Session, context: Context, machine: AnyMachine) -> None:
    """Take the machine's automatic addresses back, and the records of all that go. The others stay."""
    before = address_records.held(session, machine)
    gone = [one for one in before if one.kind == "auto"]
    if not gone:
        return
    for one in gone:
        audit(session, context, "free", "address", one.id, address=one.address, machine=machine.hostname)
    session.execute(_FORGET, {"ids": [one.id for one in gone]})
    address_records.put_owner(session, machine, before)


def forget(session: Session, context: Context, owner: Owner, *, only: int | None = None) -> None:
    """Take the addresses of a machine or device back, before it is deleted; those of one interface when it is named.

    Reservations of its MACs go on by themselves.
    """
    before = address_records.held(session, owner)
    leaving = [one for one in before if only is None or one.interface_id == only]
    if not leaving:
        return
    kept = [one.id for one in leaving if one.kind == "reservation"]
    gone = [one for one in leaving if one.kind != "reservation"]
    for one in gone:
        audit(session, context, "free", "address", one.id, address=one.address, machine=owner.hostname)
    session.flush()
    session.execute(_UNTIE, {"ids": kept})
    session.execute(_FORGET, {"ids": [one.id for one in gone]})
    session.expire_all()  # Interfaces that are loaded know these rows, and would delete them with themselves.
    address_records.put_owner(session, owner, before)
    if kept:
        statement = select(IpAddress).where(IpAddress.id.in_(kept)).options(joinedload(IpAddress.subnet))
        rows = list(session.scalars(statement.execution_options(populate_existing=True)))
        domains = {row.subnet_id: session.get_one(Domain, row.subnet.domain_id) for row in rows}
        address_records.put_reservations(session, [address_records.named(row, row.subnet) for row in rows], domains)


def tie(session: Session, owner: Owner) -> None:
    """Let reservations of MACs that are now interfaces of a machine or device belong to these. They must be flushed."""
    mine = Interface.device_id == owner.id if isinstance(owner, Device) else Interface.machine_id == owner.id
    statement = (
        select(IpAddress, Interface)
        .join(Interface, Interface.mac == IpAddress.mac)
        .where(mine, IpAddress.kind == "reservation", IpAddress.interface_id.is_(None))
        .options(joinedload(IpAddress.subnet).joinedload(Subnet.domain))
        .order_by(IpAddress.subnet_id)
    )
    found = session.execute(statement).all()
    if not found:
        return
    before = address_records.held(session, owner)
    left: dict[int, tuple[Domain, set[str]]] = {}
    for row, interface in found:
        domain = row.subnet.domain
        if interface.subnet_id is None:
            interface.vlan_id, interface.subnet_id = row.subnet.vlan_id, row.subnet_id
        if row.hostname:
            left.setdefault(domain.id, (domain, set()))[1].add(row.hostname)
        row.interface_id, row.hostname = interface.id, owner.hostname
    session.flush()
    for domain, hostnames in left.values():
        address_records.put_reserved_names(session, domain, hostnames)
    address_records.put_owner(session, owner, before)


def renamed(
    session: Session, context: Context, owner: Owner, old_hostname: str, old_domain_id: int | None = None
) -> None:
    """Move the records of a machine or device to its new name, after hostname or domain_id have changed."""
    before = address_records.held(session, owner)
    session.execute(_RENAME, {"ids": [one.id for one in before], "name": owner.hostname})
    old_domain = session.get_one(Domain, old_domain_id or owner.domain_id)
    address_records.put_owner(session, owner, before, old_name=(old_hostname, old_domain))


def reserve(
    context: Context, subnet_id: int, address: str, hostname: str | None = None, comment: str = ""
) -> IpAddress:
    """Keep one address of a subnet for something that Muster does not manage. Conflict when it is in use."""
    context.require("operator", "reserve addresses")
    with changing(context) as session:
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        canonical = check_free(session, subnet, address)
        row = IpAddress(
            subnet_id=subnet_id,
            address=canonical,
            address_key=address_key(canonical),
            kind="user_reserved",
            hostname=hostname,
            comment=comment,
            user_id=context.actor.user_id,
            created_at=context.clock(),
        )
        session.add(row)
        session.flush()
        audit(session, context, "reserve", "address", row.id, address=row.address)
        return row


def check_free(session: Session, subnet: Subnet, address: str, *, but: int | None = None) -> str:
    """The address in canonical form, if a person may choose it; the caller holds the subnet's lock.

    but: the row that may have it.  Invalid when it is none of a host of the subnet; Conflict when DHCP leases it, when it
    is the gateway, or when somebody has it.
    """
    parsed = parse_address(address, "address")
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
            IpRange.subnet_id == subnet.id,
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
    other = session.scalar(select(IpAddress).where(IpAddress.subnet_id == subnet.id, IpAddress.address_key == key))
    if other is not None and other.id != but:
        raise Conflict(
            f"address {parsed} of subnet {network} is given to {other.hostname or other.mac or other.kind} already"
            f" ({other.kind}, address {other.id}); choose another",
            field="address",
            rule="an address is given once",
        )
    return str(parsed)


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
                f"address {row.address} is held by {row.hostname or row.mac or row.kind} ({row.kind}); {_REMEDIES[row.kind]}",
                rule="only reserved addresses are freed by hand",
            )
        audit(session, context, "free", "address", row.id, address=row.address)
        session.delete(row)


def _subnet_of_interface(session: Session, machine: AnyMachine, interface: Any) -> PlainSubnet:
    """interface: a row of `_INTERFACES`."""
    row = None
    if interface.subnet_id is not None:
        row = _SUBNET.first(session, subnet_id=interface.subnet_id)
    elif interface.vlan_id is not None:
        row = _SUBNET_OF_VLAN.first(session, vlan_id=interface.vlan_id)
    if row is None:
        raise Conflict(
            f"machine {machine.hostname}: its boot interface {interface.name} ({interface.mac}) is in no subnet that"
            " Muster knows; commission the machine, or add the subnet to its VLAN"
        )
    return PlainSubnet(*row)
