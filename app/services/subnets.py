"""Subnets: networks on a VLAN. They never overlap, their gateway lies inside, and what is in use is not deleted."""

from __future__ import annotations

import ipaddress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from app.services import versions
from app.services.addressing import Network, address_key, parse_address, parse_network, supernets, usable
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.domains import domain_row
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.rack_interfaces import attach_all
from app.services.vlans import check_dhcp, refuse_unknown, vlan_row
from app.store.locks import hold
from app.store.models import Interface, IpAddress, IpRange, Rack, Subnet, Vlan
from app.store.queries.page import page

CHANGEABLE = ("name", "vlan_id", "domain_id", "gateway", "dns_servers", "managed", "lease_seconds")
LEASE_SECONDS = (60, 604_800)


def find(
    context: Context,
    vlan_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    *,
    fabric_id: int | None = None,
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
    vlan_id: int,
    *,
    name: str | None = None,
    domain_id: int | None = None,
    gateway: str | None = None,
    dns_servers: tuple[str, ...] | list[str] = (),
    managed: bool = True,
    lease_seconds: int = 600,
) -> Subnet:
    """A new subnet on a VLAN. Rack interfaces with an address in it serve it from then on.

    Invalid when the gateway is outside; Conflict when it overlaps another subnet.
    """
    context.require("admin", "add a subnet")
    network = parse_network(cidr, "cidr")
    values = _checked({"gateway": gateway, "dns_servers": list(dns_servers), "lease_seconds": lease_seconds}, network)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        vlan = vlan_row(session, vlan_id)
        _refuse_overlap(session, network)
        _refuse_gateway_in_use(session, network, values["gateway"])
        subnet = Subnet(cidr=str(network), name=name or str(network), vlan_id=vlan_id, managed=managed, **values)
        subnet.domain_id = domain_row(session, domain_id).id
        session.add(subnet)
        session.flush()
        attach_all(session, context)
        # The subnet's reverse zones are served by every rack.
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "create", "subnet", subnet.id, cidr=subnet.cidr, vlan=vlan.name)
        session.refresh(subnet, ["vlan", "domain"])
        return subnet


def update(context: Context, subnet_id: int, **changes: Any) -> Subnet:
    """Change a subnet: name, vlan_id, domain_id, gateway, dns_servers, managed, lease_seconds. The network itself stays."""
    context.require("admin", "change a subnet")
    refuse_unknown("a subnet", changes, CHANGEABLE)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        versions.check(context, subnet, f"subnet {subnet.cidr}")
        network = parse_network(subnet.cidr)
        values = _checked(changes, network)
        if values.get("gateway"):
            _refuse_gateway_in_range(session, subnet, values["gateway"])
            _refuse_gateway_in_use(session, network, values["gateway"])
        if "domain_id" in values:
            domain_row(session, values["domain_id"])
        left = subnet.vlan
        if values.get("vlan_id", left.id) != left.id:
            vlan_row(session, values["vlan_id"])
            _refuse_addresses(session, subnet, "moved to another VLAN")
        changed = {name: [getattr(subnet, name), value] for name, value in values.items()}
        for name, value in values.items():
            setattr(subnet, name, value)
        session.flush()
        session.refresh(subnet, ["vlan", "domain"])
        if subnet.vlan_id != left.id:
            attach_all(session, context)
            session.execute(sa.update(Interface).where(Interface.subnet_id == subnet.id).values(vlan_id=subnet.vlan_id))
            if left.dhcp_on:
                check_dhcp(session, left)
        touch_racks(session, [left.rack_id, subnet.vlan.rack_id])
        audit(session, context, "update", "subnet", subnet.id, **changed)
        return subnet


def delete(context: Context, subnet_id: int) -> None:
    """Delete a subnet with its ranges. Conflict while an address of it is given, or while DHCP would lose its last one."""
    context.require("admin", "delete a subnet")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        versions.check(context, subnet, f"subnet {subnet.cidr}")
        _refuse_addresses(session, subnet, "deleted")
        touch_racks(session, session.scalars(select(Rack.id)))
        vlan = subnet.vlan
        session.execute(sa.delete(IpAddress).where(IpAddress.subnet_id == subnet_id))
        session.execute(sa.update(Interface).where(Interface.subnet_id == subnet_id).values(subnet_id=None))
        audit(session, context, "delete", "subnet", subnet.id, cidr=subnet.cidr)
        session.delete(subnet)
        session.flush()
        if vlan.dhcp_on:
            check_dhcp(session, vlan)


def address_lock(subnet_id: int) -> str:
    """Name of the lock held by whoever gives addresses of a subnet or draws ranges in it."""
    return f"addresses:{subnet_id}"


def subnet_row(session: Session, subnet_id: int) -> Subnet:
    """The subnet with VLAN and domain, inside an open transaction. NotFound when there is none."""
    subnet = session.get(Subnet, subnet_id, options=_whole())
    if subnet is None:
        raise NotFound(f"there is no subnet {subnet_id}", field="subnet_id")
    return subnet


def subnet_of(session: Session, address: str) -> Subnet | None:
    """The subnet that holds an address, if any. One query, whatever the number of subnets."""
    statement = select(Subnet).options(*_whole()).where(Subnet.cidr.in_(list(supernets(address))))
    return session.scalar(statement.limit(1))


def _whole() -> list[Any]:
    return [selectinload(Subnet.vlan).selectinload(Vlan.fabric), selectinload(Subnet.domain)]


def _checked(values: dict[str, Any], network: Network) -> dict[str, Any]:
    """The values in canonical form. Invalid names the one that does not fit the network."""
    values = dict(values)
    if values.get("gateway"):
        gateway = parse_address(values["gateway"], "gateway")
        first, last = usable(network)
        # RFC 4291, section 2.5.6: IPv6 routers are also reached by their link-local address.
        link_local = isinstance(gateway, ipaddress.IPv6Address) and network.version == 6 and gateway.is_link_local
        if not link_local and (gateway.version != network.version or not first <= int(gateway) <= last):
            raise Invalid(
                f"subnet {network}: gateway {gateway} is not a host address in it; choose one inside the subnet",
                field="gateway",
                rule="the gateway lies in its subnet",
            )
        values["gateway"] = str(gateway)
    elif "gateway" in values:
        values["gateway"] = None
    if "dns_servers" in values:
        values["dns_servers"] = [str(parse_address(server, "dns_servers")) for server in values["dns_servers"]]
    low, high = LEASE_SECONDS
    if "lease_seconds" in values and not low <= values["lease_seconds"] <= high:
        raise Invalid(
            f"lease of {values['lease_seconds']} s: use {low} to {high} seconds",
            field="lease_seconds",
            rule=f"{low} <= lease <= {high}",
        )
    return values


def _refuse_overlap(session: Session, network: Network) -> None:
    for other_id, cidr in session.execute(select(Subnet.id, Subnet.cidr)):
        other = ipaddress.ip_network(cidr)
        if other.version == network.version and other.overlaps(network):
            raise Conflict(
                f"subnet {network}: it overlaps subnet {other} (id {other_id}); choose another network or delete that one",
                field="cidr",
                rule="subnets do not overlap",
            )


def _refuse_gateway_in_range(session: Session, subnet: Subnet, gateway: str) -> None:
    key = address_key(gateway)
    statement = select(IpRange).where(
        IpRange.subnet_id == subnet.id, IpRange.kind == "dynamic", IpRange.start_key <= key, IpRange.end_key >= key
    )
    inside = session.scalar(statement)
    if inside is not None:
        raise Conflict(
            f"subnet {subnet.cidr}: gateway {gateway} lies in the dynamic range {inside.start}-{inside.end}; shorten the"
            " range or choose another gateway",
            field="gateway",
            rule="DHCP does not lease the gateway",
        )


def _refuse_gateway_in_use(session: Session, network: Network, gateway: str | None) -> None:
    """Conflict when somebody has the address. A rack may: it can be its clients' router."""
    if not gateway:
        return
    statement = select(IpAddress).where(IpAddress.address_key == address_key(gateway), IpAddress.kind != "rack")
    holder = session.scalar(statement.order_by(IpAddress.id).limit(1))
    if holder is not None:
        raise Conflict(
            f"subnet {network}: gateway {gateway} is given to {holder.hostname or holder.kind} ({holder.kind}, address"
            f" {holder.id}); release it or choose another gateway",
            field="gateway",
            rule="the gateway is nobody's address",
            remedy=f"release {holder.hostname or f'address {holder.id}'}, or choose another gateway",
        )


def _refuse_addresses(session: Session, subnet: Subnet, done: str) -> None:
    given = (IpAddress.subnet_id == subnet.id, IpAddress.kind != "rack")
    first = session.scalar(select(IpAddress).where(*given).order_by(IpAddress.address_key).limit(1))
    if first is not None:
        count = session.scalar(select(func.count()).select_from(IpAddress).where(*given))
        owner = f" ({first.hostname})" if first.hostname else ""
        raise Conflict(
            f"subnet {subnet.cidr} cannot be {done}: {count} of its addresses are given, the first is {first.address}"
            f"{owner}; release the machines or delete the addresses first",
            rule="a subnet in use stays",
        )
