"""Links: how an interface of a machine or device gets its address in a subnet.

auto: Muster gives one when the machine is deployed and takes it back at release; a device has it at once.  sticky: given
at once and kept through releases.  static: a person chooses it.  dhcp: leased from the dynamic range, and the installed
system asks for it.  A boot interface without any link is `auto` in the subnet it boots in.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import address_records, versions
from app.services.addresses import check_free
from app.services.addressing import address_key
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.free_space import give
from app.services.interfaces import changeable, row_of
from app.services.subnets import address_lock, subnet_row
from app.store.locks import hold
from app.store.models import Device, Interface, InterfaceLink, IpAddress, Machine, Subnet

MODES = ("auto", "sticky", "static", "dhcp")


def put(context: Context, interface_id: int, subnet_id: int, mode: str, address: str | None = None) -> Interface:
    """Link an interface to a subnet, or link it otherwise; DHCP and DNS follow at once.

    address: for mode static only.  Invalid when it is none of a host of the subnet; Conflict when somebody has it, when
    the interface is on another VLAN, or while the machine is installed.
    """
    context.require("operator", "link interfaces")
    with changing(context) as session:
        interface, owner = changeable(session, context, interface_id)
        versions.check(context, interface, f"interface {interface.name} of {owner.hostname}")
        apply(session, context, interface, owner, subnet_id, mode, address)
        _count(owner)
        session.flush()
        return row_of(session, interface_id)


def remove(context: Context, interface_id: int, subnet_id: int) -> None:
    """Take a link away, with the address that it gave."""
    context.require("operator", "link interfaces")
    with changing(context) as session:
        interface, owner = changeable(session, context, interface_id)
        versions.check(context, interface, f"interface {interface.name} of {owner.hostname}")
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        link = _link(interface, subnet_id)
        if link is None:
            raise NotFound(
                f"interface {interface.name} of {owner.hostname} has no link to subnet {subnet.cidr}", field="subnet_id"
            )
        before = address_records.held(session, owner)
        interface.links.remove(link)
        _drop(session, context, _row(session, interface, subnet_id), owner)
        session.flush()
        address_records.put_owner(session, owner, before)
        audit(session, context, "unlink", "interface", interface.id, owner=owner.hostname, subnet=subnet.cidr)
        _count(owner)


def apply(
    session: Session,
    context: Context,
    interface: Interface,
    owner: Machine | Device,
    subnet_id: int,
    mode: str,
    address: str | None,
) -> None:
    """`put` inside an open transaction, for an interface that may be changed and is flushed."""
    if mode not in MODES:
        raise Invalid(f"mode {mode!r}: choose {', '.join(MODES)}", field="mode", rule="a known mode")
    if (address is None) is (mode == "static"):
        words = (
            "name the address"
            if mode == "static"
            else f"leave it out, or link with mode static: {mode} chooses its own"
        )
        raise Invalid(
            f"interface {interface.name} of {owner.hostname}, mode {mode}, address {address}: {words}",
            field="address",
            rule="an address is named for mode static, and only then",
        )
    hold(session, address_lock(subnet_id))
    subnet = subnet_row(session, subnet_id)
    _check_vlan(interface, owner, subnet)
    before = address_records.held(session, owner)
    row = _row(session, interface, subnet_id)
    if row is not None and row.kind == "reservation" and not (mode == "static" and row.address == address):
        raise Conflict(
            f"interface {interface.name} of {owner.hostname}: {row.address} is reserved for {interface.mac} in subnet"
            f" {subnet.cidr} (reservation {row.id}); change or delete that reservation instead",
            field="mode",
            rule="a reservation is kept until it is deleted",
        )
    link = _link(interface, subnet_id)
    if link is None:
        interface.links.append(InterfaceLink(interface_id=interface.id, subnet_id=subnet_id, mode=mode))
    else:
        link.mode = mode
    if interface.vlan_id is None or interface.subnet_id is None:
        interface.vlan_id, interface.subnet_id = subnet.vlan_id, subnet.id
    _address(session, context, interface, owner, subnet, mode, address, row)
    session.flush()
    after = address_records.put_owner(session, owner, before)
    given = next((one.address for one in after if (one.interface_id, one.subnet_id) == (interface.id, subnet_id)), None)
    audit(
        session, context, "link", "interface", interface.id, owner=owner.hostname, interface=interface.name,
        subnet=subnet.cidr, mode=mode, address=given,
    )  # fmt: skip


def _address(
    session: Session,
    context: Context,
    interface: Interface,
    owner: Machine | Device,
    subnet: Subnet,
    mode: str,
    address: str | None,
    row: IpAddress | None,
) -> None:
    """Make the interface's row in the subnet what the mode wants; an address that it has is kept where it may be."""
    if row is not None and row.kind == "reservation":
        return
    if mode == "static":
        canonical = check_free(session, subnet, str(address), but=row.id if row is not None else None)
        if row is None:
            row = IpAddress(subnet_id=subnet.id, interface_id=interface.id, created_at=context.clock())
            session.add(row)
        row.address, row.address_key, row.kind = canonical, address_key(canonical), "static"
        row.hostname = owner.hostname
        return
    at_once = mode == "sticky" or (mode == "auto" and isinstance(owner, Device))
    if not at_once:
        _drop(session, context, row, owner)
    elif row is not None and row.kind != "static":
        row.kind = mode
    else:
        _drop(session, context, row, owner)  # What a person had chosen may lie where Muster hands out nothing.
        session.flush()
        give(session, context, subnet, mode, interface.id, owner.hostname)


def _drop(session: Session, context: Context, row: IpAddress | None, owner: Machine | Device) -> None:
    if row is not None and row.kind != "reservation":
        audit(session, context, "free", "address", row.id, address=row.address, machine=owner.hostname)
        session.delete(row)


def _check_vlan(interface: Interface, owner: Machine | Device, subnet: Subnet) -> None:
    if isinstance(owner, Machine) and interface.vlan_id not in (None, subnet.vlan_id):
        raise Conflict(
            f"interface {interface.name} of {owner.hostname} is on VLAN {interface.vlan_id}, and subnet {subnet.cidr} is on"
            f" VLAN {subnet.vlan.name} ({subnet.vlan.vid}, id {subnet.vlan_id}); choose a subnet of the interface's VLAN, or"
            " plug it there and commission the machine again",
            field="subnet_id",
            rule="an interface has addresses of its VLAN's subnets",
        )


def _row(session: Session, interface: Interface, subnet_id: int) -> IpAddress | None:
    """The interface's address in the subnet, if it has one."""
    statement = select(IpAddress).where(IpAddress.interface_id == interface.id, IpAddress.subnet_id == subnet_id)
    return session.scalar(statement.order_by(IpAddress.id).limit(1))


def _link(interface: Interface, subnet_id: int) -> InterfaceLink | None:
    return next((link for link in interface.links if link.subnet_id == subnet_id), None)


def _count(owner: Machine | Device) -> None:
    if isinstance(owner, Machine):
        owner.version += 1
