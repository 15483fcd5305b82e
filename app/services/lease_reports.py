"""What racks report of leases: checked entry by entry, so that one that is wrong does not keep the others out.

A rack is believed only about subnets whose VLAN it serves, be it as secondary or through a relay agent.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.addressing import Address, parse_address, supernets
from app.services.context import Context
from app.services.errors import Invalid
from app.services.leases import TOGETHER, SeenLease, observe
from app.store.models import Rack, Subnet, Vlan
from app.store.queries.serving import served_by

MOST = 1000
LATEST = 1 << 34
"""No lease ends later (seconds since 1970)."""
LONGEST_HOSTNAME = 255
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DUID = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){2,129}")
"""RFC 8415, section 11.1: two bytes of type and at most 128."""


@dataclass(frozen=True)
class Refusal:
    """An entry that was not taken, and why. address: as the rack wrote it."""

    address: str
    reason: str


def report(
    context: Context, rack_id: int, items: list[Any], ended: list[Any], span: dict[str, Any] | None = None
) -> list[Refusal]:
    """Keep what a rack tells of its leases; the entries that were refused.

    span: `first` and `last` address, of one family: the rack's leases between them that are not among the items, or are
    refused, have ended.  Invalid when the report as a whole makes no sense; nothing of it is taken then.
    """
    for name, given in (("leases", items), ("ended", ended)):
        if len(given) > MOST:
            raise Invalid(f"{name}: {len(given)} of them; at most {MOST} in one report", field=name)
    within = _span(span) if span is not None else None
    refused: list[Refusal] = []
    seen: dict[str, SeenLease] = {}
    for item in items:
        try:
            lease = _checked(item)
            if within is not None and not _is_between(lease.address, within):
                raise ValueError(f"it is not between {within[0]} and {within[1]}, which this report is about")
            seen[lease.address] = lease
        except (Invalid, TypeError, ValueError) as error:
            refused.append(Refusal(_named(item), str(error)))
    gone: list[str] = []
    for address in ended:
        try:
            gone.append(str(parse_address(address if isinstance(address, str) else repr(address))))
        except Invalid as error:
            refused.append(Refusal(str(address)[:80], str(error)))
    with context.store.read() as session:
        strangers = foreign(session, rack_id, list(seen), "or stop its DHCP server there")
    refused += [Refusal(address, reason) for address, reason in strangers.items()]
    kept = [lease for address, lease in seen.items() if address not in strangers]
    if kept or gone or within is not None:
        between = (str(within[0]), str(within[1])) if within is not None else None
        observe(context, rack_id, kept, gone, between)
    return refused


def foreign(session: Session, rack_id: int, addresses: list[str], otherwise: str) -> dict[str, str]:
    """Addresses of which the rack cannot tell, with the reasons. A query for each TOGETHER of them.

    otherwise: completes 'make it the VLAN's rack' with what else mends it.
    """
    if not addresses:
        return {}
    statement = select(Subnet.cidr, served_by(rack_id)).join(Vlan, Vlan.id == Subnet.vlan_id)
    served: dict[str, bool] = {}
    for begin in range(0, len(addresses), TOGETHER):
        cidrs = {cidr for address in addresses[begin : begin + TOGETHER] for cidr in supernets(address)}
        served |= {cidr: bool(serves) for cidr, serves in session.execute(statement.where(Subnet.cidr.in_(cidrs)))}
    name = session.scalar(select(Rack.name).where(Rack.id == rack_id))
    found = {}
    for address in addresses:
        cidr = next((one for one in supernets(address) if one in served), None)
        if cidr is None:
            found[address] = f"address {address} is in no subnet that Muster knows; add the subnet"
        elif not served[cidr]:
            found[address] = (
                f"address {address} is in subnet {cidr}, whose VLAN rack {name} does not serve; make it the VLAN's rack"
                f" {otherwise}"
            )
    return found


def _span(given: dict[str, Any]) -> tuple[Address, Address]:
    first, last = (parse_address(str(given.get(name)), f"span.{name}") for name in ("first", "last"))
    if first.version != last.version or int(first) > int(last):
        raise Invalid(f"span: {first} to {last} is no interval of one family", field="span")
    return first, last


def _is_between(text: str, span: tuple[Address, Address]) -> bool:
    address = parse_address(text)
    return address.version == span[0].version and int(span[0]) <= int(address) <= int(span[1])


def _checked(item: Any) -> SeenLease:
    """A lease out of an entry. Invalid, TypeError or ValueError when it is malformed."""
    if not isinstance(item, dict):
        raise TypeError("expected an object with address, mac, duid, hostname, started_at and expires_at")
    if not isinstance(item.get("address"), str):
        raise TypeError("it has no address")
    address = str(parse_address(item["address"]))
    mac, duid = _matching(item, "mac", _MAC), _matching(item, "duid", _DUID)
    hostname = item.get("hostname")
    if hostname is not None and not (
        isinstance(hostname, str) and len(hostname) <= LONGEST_HOSTNAME and hostname.isprintable()
    ):
        raise ValueError(f"hostname {str(hostname)[:40]!r}: at most {LONGEST_HOSTNAME} printable characters")
    times = [item.get(name) for name in ("started_at", "expires_at")]
    started, expires = (one if isinstance(one, int) and not isinstance(one, bool) else -1 for one in times)
    if not 0 <= started <= expires < LATEST:
        raise ValueError(f"started_at {times[0]!r:.30}, expires_at {times[1]!r:.30}: seconds since 1970, in this order")
    began, ends = (dt.datetime.fromtimestamp(one, dt.UTC) for one in (started, expires))
    return SeenLease(address, mac, duid, hostname or None, began, ends)


def _matching(item: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str | None:
    value = item.get(name)
    if value is None:
        return None
    text = value.lower() if isinstance(value, str) else ""
    if not pattern.fullmatch(text):
        raise ValueError(f"{name} {str(value)[:40]!r}: expected pairs of hexadecimal digits with colons between them")
    return text


def _named(item: Any) -> str:
    return str(item.get("address") if isinstance(item, dict) else item)[:80]
