"""By which word an installed system calls its rack: a name of the internal domain, or an address.

A name stands for the racks that can be reached now in a subnet, so a system whose rack is away uses the other one.  It is
used for the first call home, packages and syslog, where it can be resolved: every subnet of the machine has the rack as its
DNS server (none of its own) and may use it, and all racks of the name listen at the same port.  Where an operator has chosen
other DNS servers, which may not know the internal domain, it is the address.

DNS, PXE (with everything that the ephemeral system loads and calls) and NTP always go by address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.services.internal_names import subnet_name
from app.store.models import Interface, InterfaceLink, IpAddress, Rack, Subnet
from app.store.prepared import Prepared

_GIVEN = (
    select(IpAddress.subnet_id)
    .join(Interface, Interface.id == IpAddress.interface_id)
    .where(Interface.machine_id == bindparam("machine_id"))
)
_LINKED = (
    select(InterfaceLink.subnet_id)
    .join(Interface, Interface.id == InterfaceLink.interface_id)
    .where(Interface.machine_id == bindparam("machine_id"))
)
_SUBNETS = Prepared(select(Subnet.dns_servers, Subnet.allow_dns).where(Subnet.id.in_(_GIVEN.union(_LINKED))))
_HERE = select(IpAddress.subnet_id).where(IpAddress.kind == "rack", IpAddress.address == bindparam("rack_address"))
_RACKS = Prepared(
    select(Subnet.cidr, Rack.ports)
    .join(IpAddress, IpAddress.subnet_id == Subnet.id)
    .join(Rack, Rack.id == IpAddress.rack_id)
    .where(IpAddress.kind == "rack", Subnet.id.in_(_HERE), Rack.token_hash.is_not(None))
)


@dataclass(frozen=True)
class RackWords:
    """What a machine may call its rack.

    name: of the internal domain; None where the machine could not resolve it.  ports: those of every rack of the name.
    """

    address: str
    name: str | None
    ports: tuple[Mapping[str, int], ...]

    def word(self, port: str, usual: int) -> str:
        """Name or address for a service at its port `port`, which is `usual` where racks say nothing."""
        same = len({int(of_rack.get(port, usual)) for of_rack in self.ports}) == 1
        return self.name if self.name is not None and same else self.address


def words_for(session: Session, machine_id: int, rack_address: str) -> RackWords:
    """What the machine's installed system may call the rack of this address. Two queries."""
    subnets = _SUBNETS.all(session, machine_id=machine_id)
    if not subnets or any(row.dns_servers or not row.allow_dns for row in subnets):
        return RackWords(rack_address, None, ())
    racks = _RACKS.all(session, rack_address=rack_address)
    cidrs = {row.cidr for row in racks}
    name = subnet_name(cidrs.pop()) if len(cidrs) == 1 else None
    return RackWords(rack_address, name, tuple(row.ports or {} for row in racks))
