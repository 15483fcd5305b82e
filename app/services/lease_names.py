"""Names of dynamic leases: the client's own where it may have it, else one made from the address.

A client says what it is called (DHCP option 12); that is taken only when it is one DNS label, nobody has it, and no other
lease has it; so a laptop never steals a machine's name.  Otherwise `10-20-0-57` in the subnet's domain.  The name goes
with the lease.
"""

from __future__ import annotations

import ipaddress
import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.dns_rules import OF_LEASE, owners_of_muster
from app.services.names import fqdn
from app.services.records import put_names, put_pointer
from app.store.locks import hold
from app.store.models import DnsRecord, Domain, IpAddress, Lease, Subnet

RESERVED = frozenset({"localhost", "localdomain", "wpad", "isatap", "gateway", "router", "dhcp", "ns", "mail", "www"})
"""Names that others look for by themselves: a client that takes one would be asked in their place (RFC 8375, wpad)."""
_UNFIT = re.compile(r"[^a-z0-9-]+")


def label_of(hostname: str | None) -> str | None:
    """The first label of what a client calls itself, made fit for a DNS name; None when nothing is left of it."""
    if not hostname:
        return None
    first = hostname.strip().lower().partition(".")[0]
    label = _UNFIT.sub("-", first).strip("-")[:63].rstrip("-")
    return label if label and label not in RESERVED else None


def label_of_address(address: str) -> str:
    """`10.20.0.57` to `10-20-0-57`; IPv6 addresses are written out, so that no label begins or ends with a hyphen."""
    parsed = ipaddress.ip_address(address)
    return parsed.exploded.replace(":", "-").replace(".", "-")


def put_lease_name(session: Session, lease: Lease, subnet: Subnet) -> None:
    """Give a lease its name: `lease.name`, the A or AAAA record and the pointer. An address with a name of ours has none.

    Call it inside `changing`, with the lease flushed, whenever it is new or its client says another name.
    """
    domain = subnet.domain
    if _is_ours(session, lease):
        drop_lease_name(session, lease, subnet)
        return
    wanted = label_of(lease.hostname)
    name = wanted if wanted and _is_free(session, domain, wanted, lease) else label_of_address(lease.address)
    if lease.name == name:
        return
    if lease.name is not None:
        _give_up(session, domain, lease.name)
    if not _is_free(session, domain, name, lease):
        lease.name = None
        put_pointer(session, lease.address, subnet.cidr, domain.ttl_seconds, None, subnet.reverse_dns)
        return
    lease.name = name
    owner = fqdn(name, domain.name)
    put_names(session, domain.name, owner, domain.ttl_seconds, [lease.address])
    put_pointer(session, lease.address, subnet.cidr, domain.ttl_seconds, owner, subnet.reverse_dns)


def drop_lease_name(session: Session, lease: Lease, subnet: Subnet) -> None:
    """Take a lease's name away, before the lease is deleted: it has ended, or the address is somebody's now.

    Racks that serve as a pair tell the same lease each: the name goes with the last of them.
    """
    if lease.name is None:
        return
    domain = subnet.domain
    if _has_twin(session, lease) and not _is_ours(session, lease):
        # Two racks may tell at once that it has ended: who comes second looks again.
        hold(session, f"lease-names:{lease.subnet_id}")
        if _has_twin(session, lease):
            lease.name = None
            return
    _give_up(session, domain, lease.name)
    if not _is_ours(session, lease):
        put_pointer(session, lease.address, subnet.cidr, domain.ttl_seconds, None, subnet.reverse_dns)
    lease.name = None


def _has_twin(session: Session, lease: Lease) -> bool:
    """Whether another rack tells of the same lease."""
    twin = select(Lease.id).where(Lease.address == lease.address, Lease.name == lease.name, Lease.id != lease.id)
    return session.scalar(twin.limit(1)) is not None


def _give_up(session: Session, domain: Domain, name: str) -> None:
    """Take the name of a lease away, unless a machine, a device, a rack or a reservation was called so meanwhile."""
    owner = owners_of_muster(session, domain, [name]).get(name)
    if owner is None or owner.startswith(OF_LEASE):
        put_names(session, domain.name, fqdn(name, domain.name), domain.ttl_seconds, [])


def _is_ours(session: Session, lease: Lease) -> bool:
    """Whether the address is a machine's, a device's, a reservation's or a rack's, which have names already."""
    statement = select(IpAddress.id).where(
        IpAddress.subnet_id == lease.subnet_id, IpAddress.address_key == lease.address_key
    )
    return session.scalar(statement.limit(1)) is not None


def _is_free(session: Session, domain: Domain, name: str, lease: Lease) -> bool:
    """Whether nobody has the name: no machine, device, rack, reservation, record of a person, and no other lease."""
    of_person = select(DnsRecord.id).where(DnsRecord.domain_id == domain.id, DnsRecord.name == name).limit(1)
    if session.scalar(of_person) is not None:
        return False
    other = (
        select(Lease.id)
        .join(Subnet, Subnet.id == Lease.subnet_id)
        .where(Subnet.domain_id == domain.id, Lease.name == name)
        .where(Lease.id != lease.id, Lease.address != lease.address)
        .limit(1)
    )
    if session.scalar(other) is not None:
        return False
    owners = owners_of_muster(session, domain, [name])
    return name not in owners or owners[name].startswith(OF_LEASE)
