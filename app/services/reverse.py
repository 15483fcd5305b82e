"""What follows when a subnet's pointers move: between no zone, the /24's zone and a zone of its own (RFC 2317)."""

from __future__ import annotations

import ipaddress

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import address_records
from app.services.name_servers import put_name_servers
from app.services.names import fqdn
from app.services.records import MODES, live, put_pointer, put_rrset
from app.store.models import Device, Interface, IpAddress, Lease, Machine, Subnet
from app.store.queries.zones import glue_zones
from renderers.reverse import is_classless, reverse_zones


def mode_changed(session: Session, subnet: Subnet, before: str) -> None:
    """Take the subnet's pointers out of where they were, and put them where they belong now. It must be flushed."""
    session.info.pop(MODES, None)
    network = ipaddress.ip_network(subnet.cidr)
    for zone in (*reverse_zones(subnet.cidr, before), *glue_zones(subnet.cidr, before)):
        whole = is_classless(subnet.cidr, before) and "-" in zone.partition(".")[0]
        for _, value in live(session, f"zone:{zone}"):
            if value["type"] in ("PTR", "CNAME") and (whole or _address_of(value["name"]) in network):
                put_rrset(session, zone, value["name"], value["type"], value["ttl"], [])
    put_name_servers(session)
    for owner in _owners(session, subnet):
        address_records.put_owner(session, owner, address_records.held(session, owner))
    reserved = select(IpAddress.address, IpAddress.hostname).where(
        IpAddress.subnet_id == subnet.id, IpAddress.kind == "reservation", IpAddress.interface_id.is_(None)
    )
    leased = select(Lease.address, Lease.name).where(Lease.subnet_id == subnet.id)
    ttl = subnet.domain.ttl_seconds
    for address, name in [*session.execute(reserved), *session.execute(leased)]:
        if name:
            put_pointer(session, address, subnet.cidr, ttl, fqdn(name, subnet.domain.name), subnet.reverse_dns)


def _owners(session: Session, subnet: Subnet) -> list[address_records.Owner]:
    """The machines and devices that have addresses in the subnet. Two queries."""
    of_subnet = select(IpAddress.interface_id).where(IpAddress.subnet_id == subnet.id)
    machines = select(Interface.machine_id).where(Interface.id.in_(of_subnet))
    devices = select(Interface.device_id).where(Interface.id.in_(of_subnet))
    return [
        *session.scalars(select(Machine).where(Machine.id.in_(machines)).order_by(Machine.id)),
        *session.scalars(select(Device).where(Device.id.in_(devices)).order_by(Device.id)),
    ]


def _address_of(owner: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address whose reverse name this is; None for other names."""
    labels = owner.rstrip(".").split(".")
    try:
        if labels[-2] == "in-addr" and len(labels) == 6:
            return ipaddress.IPv4Address(".".join(reversed(labels[:4])))
        if labels[-2] == "ip6" and len(labels) == 34:
            return ipaddress.IPv6Address(int("".join(reversed(labels[:32])), 16))
    except (ValueError, IndexError):
        return None
    return None
