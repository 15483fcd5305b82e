"""Subnets: networks on a VLAN. They never overlap, their gateway lies inside, and what is in use is not deleted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.services import address_records, reverse, versions
from app.services.addressing import parse_address, parse_network, supernets
from app.services.changes import audit, changing, touch_racks, touch_vlans
from app.services.context import Context
from app.services.discovery import give_way
from app.services.domains import domain_row
from app.services.errors import NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.rack_interfaces import attach_all
from app.services.subnet_rules import (
    LEASE_SECONDS,
    checked,
    refuse_gateway_in_range,
    refuse_gateway_in_use,
    refuse_in_use,
    refuse_overlap,
    refuse_routes_to,
    refuse_switch,
)
from app.services.vlan_rules import check_behind, check_dhcp
from app.services.vlans import refuse_unknown, vlan_for, vlan_row
from app.store.locks import hold
from app.store.models import Interface, IpAddress, Rack, Subnet, Vlan
from app.store.queries.page import page

__all__ = [
    "CHANGEABLE", "LEASE_SECONDS", "address_lock", "create", "delete", "find", "get", "subnet_of", "subnet_row",
    "take_away", "update",
]  # fmt: skip
CHANGEABLE = (
    "name", "vlan_id", "domain_id", "gateway", "dns_servers", "managed", "lease_seconds", "boot_lease_seconds",
    "description", "reverse_dns", "allow_dns", "allow_proxy", "disabled_boot_architectures", "unknown_clients",
    "slaac",
)  # fmt: skip
_WORDS = frozenset({"name", "description"})
"""What no rack serves."""
_EVERYWHERE = frozenset({"found", "vlan_id", "domain_id", "reverse_dns", "allow_dns", "allow_proxy"})
"""What racks serve that do not serve the subnet: its reverse zones, and whom they answer."""


def find(
    context: Context,
    vlan_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    *,
    fabric_id: int | None = None,
    space_id: int | None = None,
    domain_id: int | None = None,
    managed: bool | None = None,
    cidr: str | None = None,
    name: str | None = None,
    address: str | None = None,
) -> list[Subnet]:
    """A page of subnets by id, with VLAN and domain; only those that are as asked. address: one that lies in it."""
    statement = select(Subnet).options(*_whole())
    wanted = {"vlan_id": vlan_id, "domain_id": domain_id, "managed": managed, "name": name}
    statement = statement.filter_by(**{column: value for column, value in wanted.items() if value is not None})
    if cidr is not None:
        statement = statement.where(Subnet.cidr == str(parse_network(cidr, "cidr")))
    if fabric_id is not None:
        statement = statement.where(Subnet.vlan_id.in_(select(Vlan.id).where(Vlan.fabric_id == fabric_id)))
    if space_id is not None:
        statement = statement.where(Subnet.vlan_id.in_(select(Vlan.id).where(Vlan.space_id == space_id)))
    if address is not None:
        statement = statement.where(Subnet.cidr.in_(list(supernets(str(parse_address(address, "address"))))))
    with context.store.read() as session:
        return list(session.scalars(page(statement, Subnet.id, after, limit)))


def get(context: Context, subnet_id: int) -> Subnet:
    """One subnet with VLAN and domain. NotFound when there is none."""
    with context.store.read() as session:
        return subnet_row(session, subnet_id)


def create(
    context: Context,
    cidr: str,
    vlan_id: int | None = None,
    *,
    fabric: str | None = None,
    name: str | None = None,
    domain_id: int | None = None,
    gateway: str | None = None,
    dns_servers: tuple[str, ...] | list[str] = (),
    managed: bool = True,
    **settings: Any,
) -> Subnet:
    """A new subnet on a VLAN. Rack interfaces with an address in it serve it from then on.

    Without a VLAN it joins the untagged one of the default fabric, or of a new one that is named `fabric`.
    settings: the rest of what can be changed of a subnet.  Invalid when the gateway is outside; Conflict when it
    overlaps another subnet; one that was only found gives way, or is the new one if it is the same.
    """
    context.require("admin", "add a subnet")
    refuse_unknown("a subnet", settings, CHANGEABLE)
    network = parse_network(cidr, "cidr")
    values = checked({"gateway": gateway, "dns_servers": list(dns_servers), **settings}, network)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        vlan = vlan_for(session, context, vlan_id, fabric)
        subnet = give_way(session, network) or Subnet(cidr=str(network))
        if subnet.id is None:
            refuse_overlap(session, network)
        else:
            hold(session, address_lock(subnet.id))
            vlan = vlan if vlan_id is not None or fabric is not None else vlan_row(session, subnet.vlan_id)
            session.execute(sa.update(Interface).where(Interface.subnet_id == subnet.id).values(vlan_id=vlan.id))
        refuse_gateway_in_use(session, network, values["gateway"])
        described = {"name": name or str(network), "vlan_id": vlan.id, "managed": managed, "found": False, **values}
        for column, value in described.items():
            setattr(subnet, column, value)
        subnet.domain_id = domain_row(session, domain_id).id
        session.add(subnet)
        session.flush()
        attach_all(session, context)
        # The subnet's reverse zones are served by every rack; those of the VLAN take it first.
        touch_vlans(session, [vlan.id])
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "create", "subnet", subnet.id, cidr=subnet.cidr, vlan=vlan.name)
        session.refresh(subnet, ["vlan", "domain"])
        return subnet


def update(context: Context, subnet_id: int, **changes: Any) -> Subnet:
    """Change a subnet: what `CHANGEABLE` names. The network itself stays; one that was only found is adopted.

    A gateway or another option reaches DHCP as soon as racks have taken the change; installed machines keep what they
    were installed with (`app.services.gateways` lists them).
    """
    context.require("admin", "change a subnet")
    refuse_unknown("a subnet", changes, CHANGEABLE)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        versions.check(context, subnet, f"subnet {subnet.cidr}")
        network = parse_network(subnet.cidr)
        values = checked(changes, network)
        if values.get("gateway"):
            refuse_gateway_in_range(session, subnet, values["gateway"])
            refuse_gateway_in_use(session, network, values["gateway"])
        if "domain_id" in values:
            domain_row(session, values["domain_id"])
        refuse_switch(session, subnet, values.get("managed", subnet.managed))
        left, left_domain = subnet.vlan, subnet.domain
        if values.get("vlan_id", left.id) != left.id:
            vlan_row(session, values["vlan_id"])
            refuse_in_use(session, context, subnet, "moved to another VLAN")
        adopted = {"found": False, "managed": values.get("managed", True)} if subnet.found else {}
        changed = {name: [getattr(subnet, name), value] for name, value in (values | adopted).items()}
        for name, (_, value) in changed.items():
            setattr(subnet, name, value)
        session.flush()
        session.refresh(subnet, ["vlan", "domain"])
        differ = {name for name, (old, new) in changed.items() if old != new}
        if adopted:
            attach_all(session, context)
        if subnet.vlan_id != left.id:
            attach_all(session, context)
            session.execute(sa.update(Interface).where(Interface.subnet_id == subnet.id).values(vlan_id=subnet.vlan_id))
            check_dhcp(session, left)
            check_behind(session, left)
        if subnet.domain_id != left_domain.id:
            address_records.move_reservations(session, subnet, left_domain)
        if "reverse_dns" in differ:
            reverse.mode_changed(session, subnet, changed["reverse_dns"][0])
        if differ - _WORDS:
            touch_vlans(session, [left.id, subnet.vlan_id])
        if differ & _EVERYWHERE:
            touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "update", "subnet", subnet.id, **changed)
        return subnet


def delete(context: Context, subnet_id: int) -> None:
    """Delete a subnet with its ranges and its own routes.

    Conflict while an address of it is given or leased, a link or a route leads to it, or DHCP would lose its last one.
    """
    context.require("admin", "delete a subnet")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        versions.check(context, subnet, f"subnet {subnet.cidr}")
        refuse_in_use(session, context, subnet, "deleted")
        refuse_routes_to(session, subnet)
        take_away(session, context, subnet)


def take_away(session: Session, context: Context, subnet: Subnet) -> None:
    """Delete a subnet that nobody uses any more, inside an open transaction. Conflict when DHCP would lose its last one."""
    vlan = subnet.vlan
    touch_vlans(session, [vlan.id])
    touch_racks(session, session.scalars(select(Rack.id)))
    session.execute(sa.delete(IpAddress).where(IpAddress.subnet_id == subnet.id))
    session.execute(sa.update(Interface).where(Interface.subnet_id == subnet.id).values(subnet_id=None))
    audit(session, context, "delete", "subnet", subnet.id, cidr=subnet.cidr)
    session.delete(subnet)
    session.flush()
    check_dhcp(session, vlan)
    check_behind(session, vlan)


def address_lock(subnet_id: int) -> str:
    """Name of the lock held by whoever gives addresses of a subnet or draws ranges in it."""
    return f"addresses:{subnet_id}"


def subnet_row(session: Session, subnet_id: int, field: str = "subnet_id") -> Subnet:
    """The subnet with VLAN and domain, inside an open transaction. NotFound when there is none."""
    subnet = session.get(Subnet, subnet_id, options=_whole())
    if subnet is None:
        raise NotFound(f"there is no subnet {subnet_id}", field=field)
    return subnet


def subnet_of(session: Session, address: str) -> Subnet | None:
    """The subnet that holds an address, if any. One query, whatever the number of subnets."""
    statement = select(Subnet).options(*_whole()).where(Subnet.cidr.in_(list(supernets(address))))
    return session.scalar(statement.limit(1))


def _whole() -> list[Any]:
    return [selectinload(Subnet.vlan).selectinload(Vlan.fabric), selectinload(Subnet.domain)]
