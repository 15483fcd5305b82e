"""Interfaces of machines and devices: find them; whose they are; which MAC addresses are taken."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.lifecycle.states import State
from app.services.boot import canonical_mac
from app.services.context import Context
from app.services.errors import Conflict, NotFound
from app.services.hostnames import NAMING
from app.services.lifecycle import require_ownership
from app.services.transition import locked
from app.store.locks import hold
from app.store.models import Device, Interface, InterfaceLink, IpAddress, Machine
from app.store.queries.page import page

WHOLE = (
    joinedload(Interface.machine),
    joinedload(Interface.device),
    selectinload(Interface.addresses),
    selectinload(Interface.links),
)


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    machine: str | None = None,
    device: str | None = None,
    mac: str | None = None,
    subnet_id: int | None = None,
    vlan_id: int | None = None,
) -> list[Interface]:
    """A page of interfaces by id, with owner, links and addresses. machine, device: id or hostname; subnet_id: linked to it."""
    context.require("viewer", "list interfaces")
    statement = select(Interface).options(*WHOLE)
    if machine is not None:
        same = Machine.id == int(machine) if _is_id(machine) else Machine.hostname == machine.strip().lower()
        statement = statement.where(Interface.machine_id.in_(select(Machine.id).where(same)))
    if device is not None:
        same = Device.id == int(device) if _is_id(device) else Device.hostname == device.strip().lower()
        statement = statement.where(Interface.device_id.in_(select(Device.id).where(same)))
    if mac is not None:
        statement = statement.where(Interface.mac == canonical_mac(mac))
    if vlan_id is not None:
        statement = statement.where(Interface.vlan_id == vlan_id)
    if subnet_id is not None:
        linked = select(InterfaceLink.interface_id).where(InterfaceLink.subnet_id == subnet_id)
        having = select(IpAddress.interface_id).where(
            IpAddress.subnet_id == subnet_id, IpAddress.interface_id.is_not(None)
        )
        statement = statement.where(
            or_(Interface.subnet_id == subnet_id, Interface.id.in_(linked), Interface.id.in_(having))
        )
    with context.store.read() as session:
        return list(session.scalars(page(statement, Interface.id, after, limit)))


def get(context: Context, interface_id: int) -> Interface:
    """One interface with owner, links and addresses. NotFound when there is none."""
    context.require("viewer", "see interfaces")
    with context.store.read() as session:
        return row_of(session, interface_id)


def row_of(session: Session, interface_id: int) -> Interface:
    """The interface with owner, links and addresses, as it is now, inside an open transaction."""
    found = session.get(Interface, interface_id, options=list(WHOLE), populate_existing=True)
    if found is None:
        raise NotFound(f"there is no interface {interface_id}", field="interface_id")
    return found


def changeable(session: Session, context: Context, interface_id: int) -> tuple[Interface, Machine | Device]:
    """The interface and its owner, locked, if the caller may change how it is addressed.

    Conflict while the machine is installed or on its way: the system on it has been told its addresses.
    """
    interface = row_of(session, interface_id)
    if interface.device is not None:
        hold(session, NAMING)  # Two changes of a device at once would each write its names without the other's address.
        interface = row_of(session, interface_id)
    if interface.device is not None:
        return interface, interface.device
    machine = locked(session, int(interface.machine_id or 0))
    require_ownership(context, machine, "change")
    state = State(machine.state)
    if state.is_transient or state is State.DEPLOYED:
        raise Conflict(
            f"interface {interface.name} of {machine.hostname}: the machine is {state.label}, and its system has been told"
            " its addresses; release it first",
            rule="an installed machine keeps its addresses",
            remedy=f"release {machine.hostname}",
        )
    return row_of(session, interface_id), machine


def refuse_taken(session: Session, macs: Collection[str], *, but: int | None = None, field: str = "mac") -> None:
    """Conflict when another interface has one of the MAC addresses, naming whose. but: the interface that may have it.

    Whoever calls it holds the lock `app.services.hostnames.NAMING`.
    """
    statement = (
        select(Interface.mac, Interface.name, Machine.hostname, Device.hostname)
        .outerjoin(Machine, Machine.id == Interface.machine_id)
        .outerjoin(Device, Device.id == Interface.device_id)
        .where(Interface.mac.in_(macs))
        .order_by(Interface.id)
    )
    if but is not None:
        statement = statement.where(Interface.id != but)
    row = session.execute(statement.limit(1)).first()
    if row is not None:
        mac, name, machine, device = row
        kind = "machine" if machine else "device"
        raise Conflict(
            f"MAC address {mac}: interface {name} of {kind} {machine or device} has it; delete that {kind} or its interface"
            " first, or mend the address",
            field=field,
            rule="a MAC address belongs to one machine, device or reservation",
            remedy=f"delete {kind} {machine or device}, or use another MAC address",
        )


def _is_id(word: str) -> bool:
    return word.strip().isdecimal() and len(word) < 19
