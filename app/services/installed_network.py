"""The network configuration that a machine is installed with, and which gateways and routes that names.

Every interface has the addresses that its links gave it, the static routes of their subnets, and asks DHCP where it is
linked so.  One default gateway a family: that of the first interface, the boot interface before all, that has one.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session, aliased, selectinload

from app.services import installed_routes
from app.services.context import Context
from app.services.errors import Conflict
from app.services.installed_routes import Given, Route
from app.store.models import (
    InstalledGateway,
    Interface,
    InterfaceLink,
    IpAddress,
    Machine,
    StaticRoute,
    Subnet,
    Vlan,
)
from renderers.boot import netplan

DHCP_METRIC = 200
"""Of routes that interfaces other than the first get by DHCP: networkd gives the first one's 100."""


def plan(
    session: Session, context: Context, machine: Machine, rack_address: str
) -> tuple[list[netplan.Nic], str | None]:
    """The interfaces, and the address from which the installed system will call the rack; None when DHCP gives it.

    Gateways and static routes are noted as those that the machine is installed with.  Conflict when it has no address in the family of
    its rack's.
    """
    statement = (
        select(Interface)
        .where(Interface.machine_id == machine.id)
        .options(
            selectinload(Interface.addresses).selectinload(IpAddress.subnet),
            selectinload(Interface.links).selectinload(InterfaceLink.subnet),
        )
        .order_by(Interface.boot.desc(), Interface.id)
        .execution_options(populate_existing=True)
    )
    interfaces = list(session.scalars(statement))
    mtus = _mtus(session, interfaces)
    routes = _routes(session, {row.subnet_id for interface in interfaces for row in interface.addresses})
    nics: list[netplan.Nic] = []
    given: list[Given] = []
    gateways: dict[int, tuple[int, str, str]] = {}
    rack = ipaddress.ip_address(rack_address)
    calling: str | None = None
    is_near = False
    for interface in interfaces:
        rows = sorted(interface.addresses, key=lambda row: row.address_key)
        own: list[str] = []
        for row in rows:
            family = 6 if ":" in row.address else 4
            # Who has an address in the rack's subnet calls from that one, else from the first of the family.
            near = rack in ipaddress.ip_network(row.subnet.cidr)
            if family == rack.version and (calling is None or (near and not is_near)):
                calling, is_near = row.address, near
            if row.subnet.gateway and family not in gateways:
                gateways[family] = (row.subnet_id, interface.name, row.subnet.gateway)
                own.append(row.subnet.gateway)
        for row in rows:
            given += [
                Given(row.subnet_id, interface.name, Route(one.to, one.via, one.metric))
                for one in routes.get(row.subnet_id, ())
            ]
        servers = [str(server) for row in rows for server in row.subnet.dns_servers] or [rack_address]
        dhcp4, dhcp6 = (_asks(interface.links, family) for family in (4, 6))
        nics.append(
            netplan.Nic(
                name=interface.name,
                mac=interface.mac,
                addresses=tuple(f"{row.address}/{row.subnet.cidr.partition('/')[2]}" for row in rows),
                gateways=tuple(own),
                nameservers=tuple(dict.fromkeys(servers)) if rows else (),
                mtu=mtus.get(interface.vlan_id or 0, netplan.STANDARD_MTU),
                routes=tuple(route for row in rows for route in routes.get(row.subnet_id, ())),
                dhcp4=dhcp4,
                dhcp6=dhcp6,
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


def _asks(links: Iterable[InterfaceLink], family: int) -> bool:
    return any(link.mode == "dhcp" and (":" in link.subnet.cidr) is (family == 6) for link in links)


def _mtus(session: Session, interfaces: Iterable[Interface]) -> dict[int, int]:
    wanted = {interface.vlan_id for interface in interfaces if interface.vlan_id is not None}
    return {row.id: row.mtu for row in session.execute(select(Vlan.id, Vlan.mtu).where(Vlan.id.in_(wanted)))}


def _routes(session: Session, subnet_ids: set[int]) -> dict[int, list[netplan.Route]]:
    """Static routes by source subnet. One query."""
    destination = aliased(Subnet)
    statement = (
        select(StaticRoute.source_id, destination.cidr, StaticRoute.gateway, StaticRoute.metric)
        .join(destination, destination.id == StaticRoute.destination_id)
        .where(StaticRoute.source_id.in_(subnet_ids))
        .order_by(StaticRoute.metric, StaticRoute.id)
    )
    found: dict[int, list[netplan.Route]] = defaultdict(list)
    for source_id, cidr, gateway, metric in session.execute(statement):
        found[source_id].append(netplan.Route(cidr, gateway, metric))
    return found


def _note(session: Session, context: Context, machine: Machine, gateways: Iterable[tuple[int, str, str]]) -> None:
    """Remember which gateways the system is installed with; those of an earlier one are forgotten."""
    session.execute(delete(InstalledGateway).where(InstalledGateway.machine_id == machine.id))
    rows = [
        {"machine_id": machine.id, "subnet_id": subnet_id, "interface": name, "gateway": gateway, "at": context.clock()}
        for subnet_id, name, gateway in gateways
    ]
    if rows:
        session.execute(insert(InstalledGateway), rows)
