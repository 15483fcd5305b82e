"""What DNS adds to an intent: zones with their primaries, who may ask and who may copy.  Six queries, whatever the size."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import Counter, DnsSecondary, Rack, Subnet
from app.store.queries.zones import ZoneName, zones
from renderers.intent import RackIntent, SecondaryIntent, ZoneIntent

ZONE_SERIAL = "zone_serial"
"""The counter that all zones' serials have to be above: raised when a zone gets another primary."""


def with_dns(
    session: Session, intent: RackIntent, rack: Rack, racks: Iterable[Rack], settings: dict[str, dict[str, Any]]
) -> RackIntent:
    """The intent with the zones that the rack serves, its resolver's clients, its peers and the outside secondaries."""
    enrolled = [one for one in racks if one.token_hash is not None]
    serial = session.scalar(select(Counter.value).where(Counter.name == ZONE_SERIAL)) or 0
    return replace(
        intent,
        zones=_zones(rack, enrolled, zones(session), serial),
        dns_forwarders=tuple(settings.get("dns_forwarders", {}).get("servers", ())),
        dnssec_validation=settings.get("dnssec_validation", {}).get("mode", "auto"),
        dns_clients=tuple(session.scalars(select(Subnet.cidr).where(Subnet.allow_dns).order_by(Subnet.id))),
        dns_addresses=addresses_of(rack),
        dns_peers=tuple(address for one in enrolled if one.id != rack.id for address in addresses_of(one)),
        dns_secondaries=tuple(
            SecondaryIntent(row.name, row.address, row.port, row.key_name, row.algorithm, secret_name(row))
            for row in session.scalars(select(DnsSecondary).order_by(DnsSecondary.id))
        ),
    )


def secret_name(row: DnsSecondary) -> str:
    """Under which name racks fetch an outside server's key; another one for every new key."""
    return f"dns-secondary-{row.id}-{row.version}"


def _zones(rack: Rack, racks: list[Rack], names: tuple[ZoneName, ...], serial: int) -> tuple[ZoneIntent, ...]:
    """Every zone: primary on one rack, secondary on the others."""
    if all(one.id != rack.id for one in racks):
        return ()
    addresses = {one.id: addresses_of(one) for one in racks}
    known = {one.id: one for one in racks}
    made = []
    for zone in names:
        if zone.primary_rack_id is None:
            continue
        primary = known[zone.primary_rack_id]
        is_primary = rack.id == primary.id
        if not is_primary and not addresses[primary.id]:
            continue
        others = tuple(addresses[one.id][0] for one in racks if one.id != primary.id and addresses[one.id])
        made.append(
            ZoneIntent(
                zone_id=zone.zone_id,
                name=zone.name,
                role="primary" if is_primary else "secondary",
                nameserver=f"{primary.name}.{zone.domain}.",
                nameserver_addresses=addresses[primary.id],
                ttl_seconds=zone.ttl_seconds,
                primary_address=None if is_primary else addresses[primary.id][0],
                secondaries=others if is_primary else (),
                serial_above=serial,
                outside=not zone.internal,
            )
        )
    return tuple(made)


def addresses_of(rack: Rack) -> tuple[str, ...]:
    """Addresses at which other hosts reach a rack, IPv4 first, in the order of its interfaces."""
    found = [ipaddress.ip_interface(text).ip for item in rack.interfaces for text in item["addresses"]]
    usable = [address for address in found if not (address.is_loopback or address.is_link_local)]
    return tuple(str(address) for address in sorted(usable, key=lambda address: address.version))
