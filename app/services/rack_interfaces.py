"""Where a rack stands in the network: its interfaces, as it reports them, decide which subnets it serves.

An address inside a known subnet becomes the rack's address there (a row of kind `rack`), and a VLAN without a rack gets
this one.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import internal_names
from app.services.addressing import address_key, supernets
from app.services.changes import event, said, touch_racks
from app.services.context import Context
from app.services.errors import Invalid
from app.services.name_servers import put_name_servers
from app.store.models import Event, IpAddress, Rack, Subnet
from app.store.standing import KINDS

MOST_INTERFACES = 512
EVENTS_LOOKED_AT = 200


def attach_all(session: Session, context: Context) -> None:
    """Attach every rack to the subnets its addresses are in, because the subnets have changed."""
    for rack in session.scalars(select(Rack).order_by(Rack.id)).all():
        attach(session, context, rack)
    put_name_servers(session)


def attach(session: Session, context: Context, rack: Rack) -> bool:
    """Make the rack's address rows what its interfaces say; whether anything changed.

    An address in a known subnet becomes a row of kind `rack`; a VLAN without a rack gets this one.  An address that is
    in no subnet, or is given to somebody else, is only noted as an event.
    """
    wanted: dict[str, ipaddress.IPv4Interface | ipaddress.IPv6Interface] = {}
    for interface in rack.interfaces:
        for text in interface["addresses"]:
            own = ipaddress.ip_interface(text)
            if not (own.ip.is_loopback or own.ip.is_link_local):
                wanted[str(own.ip)] = own
    subnets = _subnets_holding(session, list(wanted))
    existing = {
        row.address: row
        for row in session.scalars(select(IpAddress).where(IpAddress.rack_id == rack.id, IpAddress.kind == "rack"))
    }
    changed = False
    for address, row in existing.items():
        if address not in subnets or subnets[address].id != row.subnet_id:
            session.delete(row)
            changed = True
    session.flush()
    taken = {
        (row.subnet_id, row.address): row
        for row in session.scalars(select(IpAddress).where(IpAddress.address.in_(wanted)))
        if row.rack_id != rack.id
    }
    for address in wanted:
        subnet = subnets.get(address)
        if subnet is None:
            _note_once(session, context, rack, "rack.address.unknown", address, "it is in no subnet; add the subnet")
            continue
        if other := taken.get((subnet.id, address)):
            why = f"it is given to {other.hostname or other.kind} already; free it or change the rack's interface"
            _note_once(session, context, rack, "rack.address.taken", address, why)
            continue
        if address not in existing or existing[address].subnet_id != subnet.id:
            session.add(
                IpAddress(
                    subnet_id=subnet.id,
                    address=address,
                    address_key=address_key(address),
                    kind="rack",
                    rack_id=rack.id,
                    hostname=rack.name,
                )
            )
            changed = True
        if subnet.vlan.rack_id is None and subnet.vlan.relay_vlan_id is None:
            subnet.vlan.rack_id = rack.id
            changed = True
    session.flush()
    if changed:
        put_name_servers(session)
        internal_names.put(session, context.clock())
        touch_racks(session, session.scalars(select(Rack.id)))
    return changed


def checked_interfaces(interfaces: list[Any]) -> list[dict[str, Any]]:
    """The interfaces as a rack reports them, in canonical form. Invalid names the first that is malformed."""
    if not isinstance(interfaces, list) or len(interfaces) > MOST_INTERFACES:
        raise Invalid(f"interfaces: expected a list of at most {MOST_INTERFACES}", field="interfaces")
    found = []
    for item in interfaces:
        try:
            addresses = [str(ipaddress.ip_interface(str(text).partition("%")[0])) for text in item["addresses"]]
            found.append(
                {
                    "name": str(item["name"]),
                    "mac": str(item["mac"]).lower(),
                    "addresses": addresses,
                    **_about(item),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(
                f"interface {item!r} is malformed ({error!r}); expected name, mac and addresses like 10.0.0.1/24",
                field="interfaces",
            ) from None
    return sorted(found, key=lambda interface: interface["name"])


def _about(item: dict[str, Any]) -> dict[str, Any]:
    """What a newer rack says besides: kind, parents, VLAN tag, MTU, carrier. ValueError or TypeError when malformed."""
    found: dict[str, Any] = {}
    if (kind := item.get("kind")) is not None:
        found["kind"] = kind if kind in KINDS else "other"
    if (parents := item.get("parents")) is not None:
        found["parents"] = [str(parent)[:64] for parent in list(parents)[:MOST_INTERFACES]]
    for name, last in (("vid", 4094), ("mtu", 65536)):
        if (number := item.get(name)) is not None:
            if type(number) is not int or not 0 <= number <= last:
                raise ValueError(f"{name} {number!r}")
            found[name] = number
    if (carrier := item.get("carrier")) is not None:
        if not isinstance(carrier, bool):
            raise ValueError(f"carrier {carrier!r}")
        found["carrier"] = carrier
    return found


def _subnets_holding(session: Session, addresses: list[str]) -> dict[str, Subnet]:
    """Each address's subnet, where it has one that somebody wants. One query."""
    candidates = {address: set(supernets(address)) for address in addresses}
    cidrs = set().union(*candidates.values()) if candidates else set()
    known = {
        subnet.cidr: subnet for subnet in session.scalars(select(Subnet).where(Subnet.cidr.in_(cidrs), ~Subnet.found))
    }
    found = {}
    for address, names in candidates.items():
        for cidr in names & known.keys():
            found[address] = known[cidr]
    return found


def _note_once(session: Session, context: Context, rack: Rack, kind: str, address: str, why: str) -> None:
    """Write an event about an address unless it has been written for this rack."""
    message = f"Rack {rack.name} has the address {address}, but {why}."
    if not said(session, message) and not _noted(session, rack.id, kind, message):
        event(session, context, kind, message, rack_id=rack.id, level="warning", address=address)


def _noted(session: Session, rack_id: int, kind: str, message: str) -> bool:
    """Whether a rack's recent events hold this one already."""
    statement = (
        select(Event.message)
        .where(Event.rack_id == rack_id, Event.kind == kind)
        .order_by(Event.id.desc())
        .limit(EVENTS_LOOKED_AT)
    )
    return message in set(session.scalars(statement))
