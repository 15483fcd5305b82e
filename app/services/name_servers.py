"""The records that make racks name servers: their addresses in every domain, NS of every zone, delegations of small ones.

What is there already as wanted is not written again, so that this may be called whenever racks, domains or subnets have
changed.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.names import fqdn
from app.services.records import put_rrset
from app.store.models import IpAddress, Rack, RecordChange
from app.store.queries.zones import ZoneName, zones

ADDRESS_TYPES = ("A", "AAAA")


def put_name_servers(session: Session) -> None:
    """Note the records of all racks in all zones as they should be; those that are so already are left alone."""
    session.flush()
    addresses = _addresses(session)
    known = zones(session)
    names = {zone.name for zone in known}
    wanted: dict[tuple[str, str, str], tuple[int, list[str]]] = {}
    for zone in known:
        servers = sorted(fqdn(name, zone.domain) for name in addresses)
        if servers:
            wanted[zone.name, f"{zone.name}.", "NS"] = zone.ttl_seconds, servers
        parent = zone.name.partition(".")[2]
        if servers and zone.reverse and parent in names and "-" in zone.name.partition(".")[0]:
            wanted[parent, f"{zone.name}.", "NS"] = zone.ttl_seconds, servers
        if not zone.reverse:
            for name, own in addresses.items():
                for kind in ADDRESS_TYPES:
                    found = [address for address in own if (":" in address) == (kind == "AAAA")]
                    wanted[zone.name, fqdn(name, zone.name), kind] = zone.ttl_seconds, found
    present = _present(session, known)
    for (zone_name, owner, kind), (ttl, rdatas) in wanted.items():
        if present.get((f"zone:{zone_name}", f"rrset:{owner}:{kind}"), (None, [])) != (ttl if rdatas else None, rdatas):
            put_rrset(session, zone_name, owner, kind, ttl, rdatas)


def take_rack_names(session: Session, rack: Rack) -> None:
    """Take a rack's names out of every zone, because it is to be deleted."""
    for zone in zones(session):
        if not zone.reverse:
            for kind in ADDRESS_TYPES:
                put_rrset(session, zone.name, fqdn(rack.name, zone.name), kind, zone.ttl_seconds, [])


def _addresses(session: Session) -> dict[str, list[str]]:
    """The addresses of every rack that has one in a known subnet, by the rack's name."""
    statement = (
        select(Rack.name, IpAddress.address)
        .join(IpAddress, IpAddress.rack_id == Rack.id)
        .where(IpAddress.kind == "rack")
        .order_by(IpAddress.id)
    )
    found: dict[str, list[str]] = {}
    for name, address in session.execute(statement):
        found.setdefault(name, []).append(address)
    return found


def _present(session: Session, known: tuple[ZoneName, ...]) -> dict[tuple[str, str], tuple[int | None, list[str]]]:
    """TTL and data of the NS records and of the racks' addresses as they were last put. One query."""
    names = list(session.scalars(select(Rack.name)))
    keys = {f"rrset:{zone.name}.:NS" for zone in known}
    keys |= {
        f"rrset:{fqdn(name, zone.name)}:{kind}"
        for zone in known
        if not zone.reverse
        for name in names
        for kind in ADDRESS_TYPES
    }
    ordered = sorted(keys)
    found: dict[tuple[str, str], tuple[int | None, list[str]]] = {}
    for begin in range(0, len(ordered), 500):
        statement = (
            select(RecordChange.scope, RecordChange.key, RecordChange.value)
            .where(RecordChange.key.in_(ordered[begin : begin + 500]), RecordChange.scope.startswith("zone:"))
            .order_by(RecordChange.sequence)
        )
        for scope, key, value in session.execute(statement):
            found[scope, key] = (value["ttl"], value["rdatas"]) if value is not None else (None, [])
    return found
