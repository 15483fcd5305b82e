"""The network configuration that a machine is installed with, and which gateways and routes that names.

Every interface has the addresses that its links gave it, the static routes of their subnets, and asks DHCP where it is
linked so.  One default gateway a family: that of the first interface, the boot interface before all, that has one.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.orm import Session, aliased

from app.services import installed_routes
from app.services.context import Context
from app.services.errors import Conflict
from app.services.held import AnyMachine
from app.services.installed_routes import Given, Route
from app.store.models import InstalledGateway, Interface, InterfaceLink, IpAddress, StaticRoute, Subnet, Vlan
from app.store.prepared import Prepared
from renderers.boot import netplan

DHCP_METRIC = 200
"""Of routes that interfaces other than the first get by DHCP: networkd gives the first one's 100."""
_OF_MACHINE = Interface.machine_id == bindparam("machine_id")
_INTERFACES = Prepared(
    select(Interface.id, Interface.name, Interface.mac, Vlan.mtu)
    .outerjoin(Vlan, Vlan.id == Interface.vlan_id)
    .where(_OF_MACHINE)
    .order_by(Interface.boot.desc(), Interface.id)
)
_ADDRESSES = Prepared(
    select(
        *(IpAddress.interface_id, IpAddress.address, IpAddress.subnet_id),
        *(Subnet.cidr, Subnet.gateway, Subnet.dns_servers),
    )
    .join(Interface, Interface.id == IpAddress.interface_id)
    .join(Subnet, Subnet.id == IpAddress.subnet_id)
    .where(_OF_MACHINE)
    .order_by(IpAddress.address_key)
)
_ASKING = Prepared(
    select(InterfaceLink.interface_id, Subnet.cidr)
    .join(Interface, Interface.id == InterfaceLink.interface_id)
    .join(Subnet, Subnet.id == InterfaceLink.subnet_id)
    .where(_OF_MACHINE, InterfaceLink.mode == "dhcp")
)
_DESTINATION = aliased(Subnet)
_SOURCES = select(IpAddress.subnet_id).join(Interface, Interface.id == IpAddress.interface_id).where(_OF_MACHINE)
_ROUTES = Prepared(
    select(StaticRoute.source_id, _DESTINATION.cidr, StaticRoute.gateway, StaticRoute.metric)
    .join(_DESTINATION, _DESTINATION.id == StaticRoute.destination_id)
    .where(StaticRoute.source_id.in_(_SOURCES))
    .order_by(StaticRoute.metric, StaticRoute.id)
)
_FORGET = Prepared(delete(InstalledGateway).where(InstalledGateway.machine_id == bindparam("machine_id")))
_NOTE = Prepared(insert(InstalledGateway), "machine_id", "subnet_id", "interface", "gateway", "at")


def plan(
    session: Session, context: Context, machine: AnyMachine, rack_address: str
) -> tuple[list[netplan.Nic], str | None]:
    """The interfaces, and the address from which the installed system will call the rack; None when DHCP gives it.

    Gateways and static routes are noted as those that the machine is installed with.  Conflict when it has no address in
    the family of its rack's.  Four queries.
    """
    interfaces = _INTERFACES.all(session, machine_id=machine.id)
    addresses = _by_key(_ADDRESSES.all(session, machine_id=machine.id))
    asking = _by_key(_ASKING.all(session, machine_id=machine.id))
    routes = {
        subnet_id: [netplan.Route(row.cidr, row.gateway, row.metric) for row in rows]
        for subnet_id, rows in _by_key(_ROUTES.all(session, machine_id=machine.id)).items()
    }
    nics: list[netplan.Nic] = []
    given: list[Given] = []
    gateways: dict[int, tuple[int, str, str]] = {}
    rack = ipaddress.ip_address(rack_address)
    calling: str | None = None
    is_near = False
    for interface in interfaces:
        rows = addresses.get(interface.id, [])
        own: list[str] = []
        for row in rows:
            family = 6 if ":" in row.address else 4
            # Who has an address in the rack's subnet calls from that one, else from the first of the family.
            near = rack in ipaddress.ip_network(row.cidr)
            if family == rack.version and (calling is None or (near and not is_near)):
                calling, is_near = row.address, near
            if row.gateway and family not in gateways:
                gateways[family] = (row.subnet_id, interface.name, row.gateway)
                own.append(row.gateway)
        for row in rows:
            given += [
                Given(row.subnet_id, interface.name, Route(one.to, one.via, one.metric))
                for one in routes.get(row.subnet_id, ())
            ]
        servers = [str(server) for row in rows for server in row.dns_servers] or [rack_address]
        families = {6 if ":" in row.cidr else 4 for row in asking.get(interface.id, ())}
        nics.append(
            netplan.Nic(
                name=interface.name,
                mac=interface.mac,
                addresses=tuple(f"{row.address}/{row.cidr.partition('/')[2]}" for row in rows),
                gateways=tuple(own),
                nameservers=tuple(dict.fromkeys(servers)) if rows else (),
                mtu=netplan.STANDARD_MTU if interface.mtu is None else interface.mtu,
                routes=tuple(route for row in rows for route in routes.get(row.subnet_id, ())),
                dhcp4=4 in families,
                dhcp6=6 in families,
                dhcp_metric=DHCP_METRIC if nics else None,
            )
        )
    asks = any(nic.dhcp4 if rack.version == 4 else nic.dhcp6 for nic in nics)
    if calling is None and not asks:
        raise Conflict(
            f"{machine.hostname}: it has no address from which it could reach its rack at {rack_address}; link an interface"
            " to a subnet of that family, or deploy it again so that it is given one"
        )
    _note(session, context, machine, gateways.values())
    installed_routes.note(session, machine.id, given)
    return nics, None if asks else calling


def _by_key(rows: Iterable[Any]) -> dict[int, list[Any]]:
    """Rows by their first column, in order."""
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


def _note(session: Session, context: Context, machine: AnyMachine, gateways: Iterable[tuple[int, str, str]]) -> None:
    """Remember which gateways the system is installed with; those of an earlier one are forgotten."""
    _FORGET.run(session, machine_id=machine.id)
    for subnet_id, name, gateway in gateways:
        values = {"machine_id": machine.id, "subnet_id": subnet_id, "interface": name, "gateway": gateway}
        _NOTE.run(session, **values, at=context.clock())
