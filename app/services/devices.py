"""Devices: what is on the network with addresses and names from us, and is not ours to install.

A device has interfaces as a machine has, linked to subnets in the same ways (`app.services.links`); an automatic address
is given at once, because a device is never deployed.  Its name is unique among machines, devices, racks and reservations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.services import address_records, addresses, hostnames, interfaces, links, versions
from app.services.boot import canonical_mac
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.domains import domain_row
from app.services.enlistment import first_place
from app.services.errors import Invalid, NotFound
from app.services.hostnames import NAMING
from app.store.locks import hold
from app.store.models import Device, Domain, Interface, Machine, User, Zone
from app.store.queries.page import page

MOST_INTERFACES = 64
LONGEST_DESCRIPTION = 1000
_WHOLE = (
    joinedload(Device.domain),
    joinedload(Device.zone),
    joinedload(Device.owner),
    joinedload(Device.parent),
    selectinload(Device.interfaces).selectinload(Interface.addresses),
    selectinload(Device.interfaces).selectinload(Interface.links),
)


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    hostname: str | None = None,
    domain: str | None = None,
    zone: str | None = None,
    owner: str | None = None,
    parent: str | None = None,
    mac: str | None = None,
    text: str | None = None,
) -> list[Device]:
    """A page of devices by id, whole; only those that are as asked. text: part of a hostname or a MAC address."""
    context.require("viewer", "list devices")
    statement = select(Device).options(*_WHOLE)
    if hostname is not None:
        statement = statement.where(Device.hostname == hostname.lower())
    if domain is not None:
        statement = statement.where(Device.domain.has(Domain.name == domain.lower()))
    if zone is not None:
        statement = statement.where(Device.zone.has(Zone.name == zone))
    if owner is not None:
        statement = statement.where(Device.owner.has(User.name == owner))
    if parent is not None:
        statement = statement.where(Device.parent.has(Machine.hostname == parent.lower()))
    if mac is not None:
        statement = statement.where(Device.interfaces.any(Interface.mac == canonical_mac(mac)))
    if text:
        part = text.strip().lower()
        statement = statement.where(
            or_(
                Device.hostname.contains(part, autoescape=True),
                Device.interfaces.any(Interface.mac.contains(part, autoescape=True)),
            )
        )
    with context.store.read() as session:
        return list(session.scalars(page(statement, Device.id, after, limit)))


def get(context: Context, id_or_hostname: int | str) -> Device:
    """One device, whole. NotFound when there is none."""
    context.require("viewer", "see devices")
    with context.store.read() as session:
        return one(session, id_or_hostname)


def one(session: Session, id_or_hostname: int | str) -> Device:
    """One device by id or hostname, whole and as it is now, inside an open transaction."""
    word = str(id_or_hostname).strip().lower()
    same = Device.id == int(word) if word.isdecimal() and len(word) < 19 else Device.hostname == word
    statement = select(Device).where(same).options(*_WHOLE).execution_options(populate_existing=True)
    device = session.scalars(statement).one_or_none()
    if device is None:
        raise NotFound(f"device {id_or_hostname}: there is no such device; look at the list of devices", field="device")
    return device


def create(
    context: Context,
    hostname: str,
    *,
    interfaces: Sequence[Mapping[str, Any]] = (),
    domain: str | None = None,
    zone: str | None = None,
    owner: str | None = None,
    parent: str | None = None,
    description: str = "",
) -> Device:
    """A new device. interfaces: each with mac, maybe name, and maybe links (subnet_id, mode, address).

    Conflict when the name or a MAC address is taken; what `links.put` refuses.
    """
    context.require("operator", "add devices")
    name = hostnames.checked(hostname)
    _check_description(description)
    with changing(context) as session:
        hold(session, NAMING)
        domain_id = _domain(session, domain)
        hostnames.refuse_taken(session, name, domain_id)
        device = Device(
            hostname=name,
            domain_id=domain_id,
            description=description,
            owner_id=_named(session, User, owner, "owner"),
            zone_id=_named(session, Zone, zone, "zone") or first_place(session, Zone),
            parent_id=_machine(session, parent),
            created_at=context.clock(),
        )
        session.add(device)
        session.flush()
        _add(session, context, device, interfaces)
        audit(session, context, "create", "device", device.id, hostname=name)
        session.flush()
        return one(session, device.id)


def update(context: Context, id_or_hostname: int | str, **changes: Any) -> Device:
    """Change hostname, domain, zone, owner, parent or description; its names follow at once."""
    context.require("operator", "change devices")
    with changing(context) as session:
        hold(session, NAMING)
        device = one(session, id_or_hostname)
        versions.check(context, device, f"device {device.hostname}")
        old_hostname, old_domain_id = device.hostname, device.domain_id
        changed: dict[str, Any] = {}
        if "hostname" in changes:
            device.hostname = changed["hostname"] = hostnames.checked(changes["hostname"])
        if "domain" in changes:
            device.domain_id, changed["domain"] = _domain(session, changes["domain"]), changes["domain"]
        if (device.hostname, device.domain_id) != (old_hostname, old_domain_id):
            with session.no_autoflush:
                hostnames.refuse_taken(session, device.hostname, device.domain_id, me=("device", device.id))
            session.flush()
            addresses.renamed(session, context, device, old_hostname, old_domain_id)
        if "zone" in changes:
            device.zone_id = _named(session, Zone, changes["zone"], "zone") or device.zone_id
        if "owner" in changes:
            device.owner_id = _named(session, User, changes["owner"], "owner")
        if "parent" in changes:
            device.parent_id = _machine(session, changes["parent"])
        if "description" in changes:
            _check_description(changes["description"])
            device.description = changes["description"]
        changed |= {name: changes[name] for name in ("zone", "owner", "parent", "description") if name in changes}
        audit(session, context, "change", "device", device.id, **changed)
        session.flush()
        return one(session, device.id)


def delete(context: Context, id_or_hostname: int | str) -> None:
    """Forget a device, with its addresses and names; reservations of its MACs go on by themselves."""
    context.require("operator", "delete devices")
    with changing(context) as session:
        hold(session, NAMING)
        device = one(session, id_or_hostname)
        versions.check(context, device, f"device {device.hostname}")
        remove(session, context, device)


def remove(session: Session, context: Context, device: Device) -> None:
    """`delete` inside an open transaction."""
    addresses.forget(session, context, device)
    audit(session, context, "delete", "device", device.id, hostname=device.hostname)
    session.flush()
    session.expire(device)
    session.delete(device)
    session.flush()


def add_interface(context: Context, id_or_hostname: int | str, interface: Mapping[str, Any]) -> Device:
    """Give a device one more interface: mac, maybe name, and maybe links."""
    context.require("operator", "change devices")
    with changing(context) as session:
        hold(session, NAMING)
        device = one(session, id_or_hostname)
        versions.check(context, device, f"device {device.hostname}")
        _add(session, context, device, [interface])
        session.flush()
        return one(session, device.id)


def change_interface(
    context: Context, id_or_hostname: int | str, interface_id: int, *, mac: str | None = None, name: str | None = None
) -> Device:
    """Change the name or the MAC address of a device's interface, as when a network card is replaced."""
    context.require("operator", "change devices")
    with changing(context) as session:
        hold(session, NAMING)
        device = one(session, id_or_hostname)
        versions.check(context, device, f"device {device.hostname}")
        row = _interface(device, interface_id)
        before = address_records.held(session, device)
        changed: dict[str, Any] = {}
        if mac is not None:
            wanted = canonical_mac(mac)
            interfaces.refuse_taken(session, [wanted], but=row.id)
            _refuse_reserved(row)
            changed["mac"], row.mac = [row.mac, wanted], wanted
        if name is not None:
            changed["name"], row.name = [row.name, name], _name(device, name, row.id)
        session.flush()
        address_records.put_owner(session, device, before)
        addresses.tie(session, device)
        audit(session, context, "change", "interface", row.id, owner=device.hostname, **changed)
        session.flush()
        return one(session, device.id)


def remove_interface(context: Context, id_or_hostname: int | str, interface_id: int) -> None:
    """Take an interface from a device, with its addresses."""
    context.require("operator", "change devices")
    with changing(context) as session:
        hold(session, NAMING)
        device = one(session, id_or_hostname)
        versions.check(context, device, f"device {device.hostname}")
        row = _interface(device, interface_id)
        addresses.forget(session, context, device, only=row.id)
        audit(session, context, "delete", "interface", row.id, owner=device.hostname, mac=row.mac)
        session.flush()
        session.expire(device)
        session.expire(row)
        session.delete(row)


def _add(session: Session, context: Context, device: Device, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Add interfaces, tie the reservations of their MACs, and link them."""
    macs = [canonical_mac(one["mac"]) for one in wanted]
    if len(set(macs)) != len(macs):
        raise Invalid("interfaces: a MAC address is named twice; each interface has its own", field="interfaces")
    if len(macs) + len(device.interfaces) > MOST_INTERFACES:
        raise Invalid(f"device {device.hostname}: at most {MOST_INTERFACES} interfaces", field="interfaces")
    interfaces.refuse_taken(session, macs)
    made = []
    for mac, words in zip(macs, wanted, strict=True):
        name = _name(device, words.get("name") or f"eth{len(device.interfaces)}")
        row = Interface(name=name, mac=mac, boot=not device.interfaces)
        device.interfaces.append(row)
        made.append(row)
    session.flush()
    for row in made:
        audit(session, context, "create", "interface", row.id, owner=device.hostname, mac=row.mac)
    addresses.tie(session, device)
    for row, words in zip(made, wanted, strict=True):
        for link in words.get("links") or ():
            links.apply(session, context, row, device, link["subnet_id"], link["mode"], link.get("address"))


def _name(device: Device, name: str, me: int | None = None) -> str:
    """The name, if the device has no other interface of it."""
    if any(row.name == name and row.id != me for row in device.interfaces):
        raise Invalid(
            f"device {device.hostname}: it has an interface {name} already; choose another name",
            field="name",
            rule="names of interfaces differ",
        )
    return name


def _interface(device: Device, interface_id: int) -> Interface:
    found = next((row for row in device.interfaces if row.id == interface_id), None)
    if found is None:
        raise NotFound(f"device {device.hostname} has no interface {interface_id}", field="interface_id")
    return found


def _refuse_reserved(row: Interface) -> None:
    """A reservation is for a MAC; it does not follow to another one."""
    for address in row.addresses:
        if address.kind == "reservation":
            raise Invalid(
                f"interface {row.name}: {address.address} is reserved for {row.mac} (reservation {address.id}); delete that"
                " reservation first",
                field="mac",
                rule="a reservation is for one MAC address",
            )


def _domain(session: Session, name: str | None) -> int:
    if name is None:
        return domain_row(session, None).id
    found = session.scalar(select(Domain.id).where(Domain.name == name.strip().lower().removesuffix(".")))
    if found is None:
        raise Invalid(f"domain {name}: there is none of this name; make it first", field="domain")
    return found


def _named(session: Session, model: type[User] | type[Zone], name: str | None, field: str) -> int | None:
    if name is None:
        return None
    found = session.scalar(select(model.id).where(model.name == name))
    if found is None:
        raise Invalid(f"{field} {name}: there is none of this name", field=field)
    return found


def _machine(session: Session, hostname: str | None) -> int | None:
    if hostname is None:
        return None
    found = session.scalar(select(Machine.id).where(Machine.hostname == hostname.strip().lower()))
    if found is None:
        raise Invalid(f"parent {hostname}: there is no machine of this name", field="parent")
    return found


def _check_description(text: str) -> None:
    if len(text) > LONGEST_DESCRIPTION:
        raise Invalid(f"the description has {len(text)} characters; at most {LONGEST_DESCRIPTION}", field="description")
