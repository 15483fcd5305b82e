"""The internal domain: one name for each subnet, whose addresses are those of the racks that can be reached there *now*.

`10-20-0-0--24.muster-internal` is what machines use for metadata, packages and syslog, so that a rack that has stopped
is out of the answer within its liveness window and its TTL; addresses stay what they use before they can resolve names.
Where no rack is alive, the last answer stays: an empty one would help nobody, and it may be us who are deaf.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.changes import changing
from app.services.context import Context
from app.services.records import put_rrset
from app.store.models import IpAddress, Rack, RecordChange, Subnet
from app.store.queries.zones import INTERNAL_TTL_SECONDS, INTERNAL_ZONE

_OF_SUBNET = re.compile(r"rrset:[0-9a-f-]+--\d+\.")
LIVENESS_SECONDS = 90.0
"""A rack reports at least every 30 s; three reports missed, and it is not sent to any more."""


def subnet_name(cidr: str) -> str:
    """The name of a subnet in the internal domain, absolute without a final dot: `10-20-0-0--24.muster-internal`."""
    network = ipaddress.ip_network(cidr)
    words = str(network.network_address).replace(".", "-").replace(":", "-")
    return f"{'0' if words.startswith('-') else ''}{words}--{network.prefixlen}.{INTERNAL_ZONE}"


def refresh(context: Context) -> int:
    """Make the names of all subnets be what the racks' last reports say; how many RRsets changed. Three queries."""
    with context.store.read() as session:
        if not changes_of(session, context.clock()):
            return 0
    with changing(context) as session:
        return put(session, context.clock())


def is_away(rack: Rack, now: dt.datetime) -> bool:
    """Whether the rack is not sent to, because it has said nothing for too long."""
    return rack.seen_at is None or rack.seen_at < now - dt.timedelta(seconds=LIVENESS_SECONDS)


def put(session: Session, now: dt.datetime) -> int:
    """Note what has to change inside an open transaction; how many RRsets."""
    session.flush()
    changes = changes_of(session, now)
    for (owner, kind), addresses in changes.items():
        put_rrset(session, INTERNAL_ZONE, owner, kind, INTERNAL_TTL_SECONDS, addresses)
    return len(changes)


def changes_of(session: Session, now: dt.datetime) -> dict[tuple[str, str], list[str]]:
    """Owner and type with the addresses that should be there, where others are. Two queries."""
    since = now - dt.timedelta(seconds=LIVENESS_SECONDS)
    statement = (
        select(Subnet.cidr, IpAddress.address, Rack.seen_at)
        .join(IpAddress, IpAddress.subnet_id == Subnet.id)
        .join(Rack, Rack.id == IpAddress.rack_id)
        .where(IpAddress.kind == "rack", Rack.token_hash.is_not(None))
        .order_by(IpAddress.address_key)
    )
    racks: dict[str, list[tuple[str, bool]]] = {}
    for cidr, address, seen_at in session.execute(statement):
        racks.setdefault(cidr, []).append((address, seen_at is not None and seen_at >= since))
    wanted: dict[tuple[str, str], list[str] | None] = {}
    for cidr, known in racks.items():
        alive = [address for address, lives in known if lives]
        wanted[f"{subnet_name(cidr)}.", "AAAA" if ":" in cidr else "A"] = alive or None
    present = _present(session)
    changes = {
        place: addresses
        for place, addresses in wanted.items()
        if addresses is not None and addresses != present.get(place, [])
    }
    return changes | {place: [] for place in present.keys() - wanted.keys()}


def _present(session: Session) -> dict[tuple[str, str], list[str]]:
    """What the internal domain holds of subnets."""
    newest: dict[str, dict[str, object] | None] = {}
    statement = (
        select(RecordChange.key, RecordChange.value)
        .where(RecordChange.scope == f"zone:{INTERNAL_ZONE}", RecordChange.key.contains("--"))
        .order_by(RecordChange.sequence)
    )
    for key, value in session.execute(statement):
        if _OF_SUBNET.match(key):
            newest[key] = value
    return {
        (str(value["name"]), str(value["type"])): list(value["rdatas"])  # type: ignore[call-overload]
        for value in newest.values()
        if value is not None
    }
