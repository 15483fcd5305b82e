"""DHCP servers that are not ours, as racks hear them on the networks they serve. Observed, never desired.

A rack says where it has looked and who answered; whoever answered there before and does not now is gone.  What other
racks answer from is ours.  People are told by an event when one comes and when it goes, on the overview and on the
rack's page, and in the reason why a machine on that network did not boot.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import rack_serving
from app.services.changes import changing, event
from app.services.context import Context
from app.services.errors import Invalid
from app.store.locks import hold
from app.store.models import ForeignDhcpServer, Interface, Rack
from app.store.queries.page import page

MOST = 64
MOST_LOOKED, MOST_SHOWN = 512, 500
PRESENT = dt.timedelta(minutes=10)
"""Racks tell every two minutes who answers; who was not told of for so long may be there no more."""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NAME = re.compile(r"[^\s/]{1,15}")
_FIELDS = ("interface", "server", "mac", "offered")


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    rack_id: int | None = None,
    vlan_id: int | None = None,
) -> list[ForeignDhcpServer]:
    """A page of them by id; only those of a rack, or on a VLAN, when asked."""
    context.require("viewer", "see foreign DHCP servers")
    wanted = {"rack_id": rack_id, "vlan_id": vlan_id}
    statement = select(ForeignDhcpServer).filter_by(**{name: one for name, one in wanted.items() if one is not None})
    with context.store.read() as session:
        return list(session.scalars(page(statement, ForeignDhcpServer.id, after, limit)))


def present(
    context: Context, session: Session, rack_id: int | None = None, limit: int = MOST_SHOWN
) -> list[ForeignDhcpServer]:
    """Those that a rack, or any rack, hears now: not what a silent rack heard last, or one that looks there no more."""
    heard = select(ForeignDhcpServer).where(ForeignDhcpServer.seen_at >= context.clock() - PRESENT)
    if rack_id is not None:
        heard = heard.where(ForeignDhcpServer.rack_id == rack_id)
    ordered = heard.order_by(ForeignDhcpServer.rack_id, ForeignDhcpServer.interface, ForeignDhcpServer.server)
    return list(session.scalars(ordered.limit(limit)))


def report(context: Context, rack_id: int, looked: list[Any], items: list[Any]) -> None:
    """Keep what a rack has heard on the interfaces where it looked. Invalid names the first that is malformed."""
    if len(items) > MOST or len(looked) > MOST_LOOKED:
        raise Invalid(f"servers: {len(items)} of them; at most {MOST} in one report", field="servers")
    places = {_named(name) for name in looked}
    heard = {(item["interface"], item["server"]): item for item in map(_checked, items) if item["interface"] in places}
    with changing(context) as session:
        hold(session, f"foreign-dhcp:{rack_id}")
        mine = session.scalars(select(ForeignDhcpServer).where(ForeignDhcpServer.rack_id == rack_id))
        known = {(row.interface, row.server): row for row in mine if row.interface in places}
        if not heard and not known:
            return
        rack, now, ours = session.get_one(Rack, rack_id), context.clock(), _ours(session)
        # A relayed VLAN is served on the same interface, and is not what was looked at.
        serves = [one for one in rack_serving.of_rack(session, rack) if one.role != "relay"]
        vlans = {one.interface: one.vlan_id for one in serves if one.interface}
        for key, item in heard.items():
            if item["server"] in ours:
                continue
            row = known.pop(key, None)
            if row is None:
                row = ForeignDhcpServer(rack_id=rack_id, **item, first_seen_at=now)
                session.add(row)
                words = f"A DHCP server that is not ours answers on {row.interface} of rack {rack.name}: {said(row)}."
                event(session, context, "rack.dhcp.foreign", words, rack_id=rack_id, level="warning", found=item)
            row.mac, row.offered, row.seen_at, row.vlan_id = item["mac"], item["offered"], now, vlans.get(row.interface)
        for row in known.values():
            words = f"The DHCP server {row.server} on {row.interface} of rack {rack.name} does not answer any more."
            event(session, context, "rack.dhcp.foreign_gone", words, rack_id=rack_id, server=row.server)
            session.delete(row)


def said(row: ForeignDhcpServer) -> str:
    """`10.20.0.66 (52:54:00:00:00:01) offers 10.20.0.150`."""
    return f"{row.server} ({row.mac}) offers {row.offered}"


def why(context: Context, session: Session, machine_id: int) -> str | None:
    """What may have kept a machine from booting through us; None when nobody else answers on its boot interface's VLAN."""
    heard = (
        select(ForeignDhcpServer)
        .join(Interface, Interface.vlan_id == ForeignDhcpServer.vlan_id)
        .where(Interface.machine_id == machine_id, Interface.boot)
        .where(ForeignDhcpServer.seen_at >= context.clock() - PRESENT)
        .order_by(ForeignDhcpServer.seen_at.desc(), ForeignDhcpServer.id)
    )
    row = session.scalars(heard.limit(1)).first()
    if row is None:
        return None
    return f"a DHCP server that is not ours answers on its network: {said(row)}; switch it off, or keep the machine from it"


def _ours(session: Session) -> frozenset[str]:
    """The addresses of all racks."""
    return frozenset(
        str(address).partition("/")[0]
        for interfaces in session.scalars(select(Rack.interfaces))
        for one in interfaces
        if isinstance(one, dict)
        for address in one.get("addresses") or ()
    )


def _named(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Invalid(f"looked: {str(name)[:100]!r} is no name of an interface", field="looked")
    return name


def _checked(item: Any) -> dict[str, str]:
    try:
        found = {name: str(item[name]) for name in _FIELDS}
        found["mac"] = found["mac"].lower()
        for name in ("server", "offered"):
            found[name] = str(ipaddress.IPv4Address(found[name]))
        if not _NAME.fullmatch(found["interface"]) or not _MAC.fullmatch(found["mac"]):
            raise ValueError("interface or MAC")
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(
            f"server {str(item)[:200]!r} is malformed ({error!r}); expected {', '.join(_FIELDS)}", field="servers"
        ) from None
    return found
