"""By which word an installed system calls its rack: a name of the internal domain, or an address.

A name stands for the racks that can be reached now in a subnet, so a system whose rack is away uses the other one.  It is
used for packages and syslog, where it can be resolved: every subnet of the machine has the rack as its DNS server (none
of its own) and may use it, and all racks of the name listen at the same port.  Where an operator has chosen other DNS
servers, which may not know the internal domain, it is the address.

DNS, PXE (with everything that the ephemeral system loads) and NTP always go by address, and so does the first call home:
its token is one rack's.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.internal_names import subnet_name
from app.store.models import Interface, InterfaceLink, IpAddress, Rack, Subnet


def word_for(session: Session, machine_id: int, rack_address: str, port: str, usual: int) -> str:
    """Name or address of the rack, for a service at its port `port`, which is `usual` where racks say nothing. Two queries."""
    of_machine = select(Interface.id).where(Interface.machine_id == machine_id)
    given = select(IpAddress.subnet_id).where(IpAddress.interface_id.in_(of_machine))
    linked = select(InterfaceLink.subnet_id).where(InterfaceLink.interface_id.in_(of_machine))
    statement = select(Subnet.dns_servers, Subnet.allow_dns).where(Subnet.id.in_(given.union(linked)))
    subnets = session.execute(statement).all()
    if not subnets or any(row.dns_servers or not row.allow_dns for row in subnets):
        return rack_address
    here = select(IpAddress.subnet_id).where(IpAddress.kind == "rack", IpAddress.address == rack_address)
    racks = session.execute(
        select(Subnet.cidr, Rack.ports)
        .join(IpAddress, IpAddress.subnet_id == Subnet.id)
        .join(Rack, Rack.id == IpAddress.rack_id)
        .where(IpAddress.kind == "rack", Subnet.id.in_(here), Rack.token_hash.is_not(None))
    ).all()
    ports = {int((row.ports or {}).get(port, usual)) for row in racks}
    cidrs = {row.cidr for row in racks}
    return subnet_name(cidrs.pop()) if len(ports) == len(cidrs) == 1 else rack_address
