"""Ranges of a subnet, which never overlap: `dynamic`, `reserved` and `static_pool`.

DHCP leases from dynamic ranges.  In a managed subnet Muster keeps away from reserved ranges and hands out from the static
pools, or from what lies outside all ranges where there is no pool.  In an unmanaged subnet it hands out what lies in the
reserved ranges and nothing else, and there are no other ranges.
A range with live leases is not shrunk or deleted, unless that is forced: what is leased stays leased until it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import versions
from app.services.addressing import address_key, parse_address, parse_network, usable
from app.services.changes import audit, changing, touch_vlans
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.subnet_rules import GIVEN_BY_MUSTER, refuse_live_lease
from app.services.subnets import address_lock, subnet_row
from app.services.vlans import refuse_unknown
from app.store.locks import hold
from app.store.models import IpAddress, IpRange, Rack, StaticRoute, Subnet
from app.store.queries.page import page
from app.store.queries.serving import racks_of_vlans

KINDS = ("dynamic", "reserved", "static_pool")
CHANGEABLE = ("kind", "start", "end", "comment")


def find(
    context: Context,
    subnet_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    *,
    kind: str | None = None,
) -> list[IpRange]:
    """A page of ranges by id; of one subnet or kind when it is named."""
    statement = select(IpRange)
    if subnet_id is not None:
        statement = statement.where(IpRange.subnet_id == subnet_id)
    if kind is not None:
        statement = statement.where(IpRange.kind == kind)
    with context.store.read() as session:
        return list(session.scalars(page(statement, IpRange.id, after, limit)))


def get(context: Context, range_id: int) -> IpRange:
    """One range. NotFound when there is none."""
    with context.store.read() as session:
        return _row(session, range_id)


def create(context: Context, subnet_id: int, kind: str, start: str, end: str, comment: str = "") -> IpRange:
    """A new range, both ends included.

    Invalid when it leaves the subnet; Conflict when it overlaps a range, or when a dynamic one holds given addresses.
    """
    context.require("admin", "add a range")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        hold(session, address_lock(subnet_id))
        subnet = subnet_row(session, subnet_id)
        row = IpRange(subnet_id=subnet_id, comment=comment)
        _draw(session, subnet, row, kind, start, end)
        session.add(row)
        session.flush()
        touch_vlans(session, [subnet.vlan_id])
        audit(session, context, "create", "range", row.id, subnet=subnet.cidr, kind=kind, start=row.start, end=row.end)
        return row


def update(context: Context, range_id: int, *, force: bool = False, **changes: Any) -> IpRange:
    """Change a range: kind, start, end, comment. force: also when an address that it loses is leased or given."""
    context.require("admin", "change a range")
    refuse_unknown("a range", changes, CHANGEABLE)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        row = _row(session, range_id)
        label = f"range {row.start}-{row.end}"
        versions.check(context, row, label)
        hold(session, address_lock(row.subnet_id))
        subnet = subnet_row(session, row.subnet_id)
        before = {name: getattr(row, name) for name in changes}
        was = _Was(row.id, row.kind, row.start, row.end, row.start_key, row.end_key)
        with session.no_autoflush:
            _draw(
                session, subnet, row, changes.get("kind", row.kind), changes.get("start", row.start),
                changes.get("end", row.end),
            )  # fmt: skip
            if not force:
                kept = (row.start_key, row.end_key) if row.kind == was.kind else None
                _refuse_loss(session, context, subnet, was, f"subnet {subnet.cidr}: {label} cannot be changed so", kept)
        row.comment = changes.get("comment", row.comment)
        if set(changes) - {"comment"}:
            touch_vlans(session, [subnet.vlan_id])
        forced = {"forced": True} if force else {}
        changed = {name: [before[name], changes[name]] for name in changes}
        audit(session, context, "update", "range", row.id, **changed, **forced)
        return row


def delete(context: Context, range_id: int, *, force: bool = False) -> None:
    """Delete a range; its addresses may then be given to machines. force: also when some are leased or given from it."""
    context.require("admin", "delete a range")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        row = _row(session, range_id)
        label = f"range {row.start}-{row.end}"
        versions.check(context, row, label)
        hold(session, address_lock(row.subnet_id))
        subnet = subnet_row(session, row.subnet_id)
        if not force:
            was = _Was(row.id, row.kind, row.start, row.end, row.start_key, row.end_key)
            _refuse_loss(session, context, subnet, was, f"subnet {subnet.cidr}: {label} cannot be deleted", None)
        touch_vlans(session, [subnet.vlan_id])
        forced = {"forced": True} if force else {}
        audit(session, context, "delete", "range", row.id, subnet=subnet.cidr, start=row.start, end=row.end, **forced)
        session.delete(row)


@dataclass(frozen=True)
class _Was:
    """A range before a change."""

    id: int
    kind: str
    start: str
    end: str
    start_key: str
    end_key: str


def _row(session: Session, range_id: int) -> IpRange:
    row = session.get(IpRange, range_id)
    if row is None:
        raise NotFound(f"there is no range {range_id}", field="range_id")
    return row


def _draw(session: Session, subnet: Subnet, row: IpRange, kind: str, start: str, end: str) -> None:
    """Set kind and ends of the row once no rule speaks against them."""
    if kind not in KINDS:
        raise Invalid(f"kind {kind!r}: a range is {' or '.join(KINDS)}", field="kind", rule="a known kind")
    if kind != "reserved" and not subnet.managed:
        raise Conflict(
            f"subnet {subnet.cidr} is not managed, so it has no {kind.replace('_', ' ')} range: DHCP never leases there, and"
            " Muster hands out from reserved ranges only; draw a reserved range, or have the subnet managed",
            field="kind",
            rule="an unmanaged subnet has reserved ranges only",
        )
    network = parse_network(subnet.cidr)
    first, last = parse_address(start, "start"), parse_address(end, "end")
    low, high = usable(network)
    label = f"subnet {subnet.cidr}: range {first}-{last}"
    for address, field in ((first, "start"), (last, "end")):
        if address.version != network.version or not low <= int(address) <= high:
            raise Invalid(
                f"{label} leaves the subnet at {address}; use host addresses of {subnet.cidr}",
                field=field,
                rule="a range lies in its subnet",
            )
    if int(first) > int(last):
        raise Invalid(f"{label} ends before it starts; swap the ends", field="end", rule="start <= end")
    start_key, end_key = address_key(first), address_key(last)
    touching = select(IpRange).where(
        IpRange.subnet_id == subnet.id, IpRange.start_key <= end_key, IpRange.end_key >= start_key
    )
    if row.id is not None:
        touching = touching.where(IpRange.id != row.id)
    other = session.scalar(touching.order_by(IpRange.start_key).limit(1))
    if other is not None:
        raise Conflict(
            f"{label} overlaps the {other.kind} range {other.start}-{other.end} (id {other.id}); shorten one of them",
            field="start",
            rule="ranges do not overlap",
        )
    if kind != "reserved":
        _refuse_gateways(session, subnet, kind, label, start_key, end_key)
    if kind == "dynamic":
        refuse_used(session, subnet, label, start_key, end_key)
    row.kind, row.start, row.end = kind, str(first), str(last)
    row.start_key, row.end_key = start_key, end_key


def _refuse_gateways(session: Session, subnet: Subnet, kind: str, label: str, start_key: str, end_key: str) -> None:
    """Conflict when the range holds the subnet's gateway, or that of one of its routes."""
    found = [("the gateway", subnet.gateway)] if subnet.gateway else []
    vias = session.execute(select(StaticRoute.id, StaticRoute.gateway).where(StaticRoute.source_id == subnet.id))
    found += [(f"the gateway of route {route_id}", via) for route_id, via in vias]
    for what, gateway in found:
        if start_key <= address_key(gateway) <= end_key:
            who = "DHCP would lease" if kind == "dynamic" else "Muster would hand out"
            raise Conflict(
                f"{label} holds {what} {gateway}; {who} it; end the range before it",
                field="start",
                rule="a gateway is handed out from no range",
            )


def refuse_used(session: Session, subnet: Subnet, label: str, start_key: str, end_key: str) -> None:
    """Conflict when a dynamic range would hold an address in use. Kea keeps reservations inside it for their MACs."""
    kinds = () if _runs_dhcpd(session, subnet) else ("reservation",)
    statement = (
        select(IpAddress)
        .where(
            IpAddress.subnet_id == subnet.id,
            IpAddress.address_key >= start_key,
            IpAddress.address_key <= end_key,
            IpAddress.kind.not_in(kinds),
        )
        .order_by(IpAddress.address_key)
        .limit(1)
    )
    given = session.scalar(statement)
    if given is not None:
        owner = f" to {given.hostname or given.mac}" if given.hostname or given.mac else ""
        raise Conflict(
            f"{label} holds {given.address}, which is given{owner} ({given.kind}); release it or draw the range around it",
            field="start",
            rule="a dynamic range holds no address in use",
        )


def _runs_dhcpd(session: Session, subnet: Subnet) -> bool:
    wanted = racks_of_vlans(session, [subnet.vlan_id]).get(subnet.vlan_id, ())
    return "dhcpd" in set(session.scalars(select(Rack.dhcp_server).where(Rack.id.in_(wanted))))


def _refuse_loss(
    session: Session, context: Context, subnet: Subnet, was: _Was, label: str, kept: tuple[str, str] | None
) -> None:
    """Conflict when the range loses addresses that DHCP has leased, or that Muster has given from it because of it.

    kept: keys of the first and the last address that it keeps; None when it keeps none.
    """
    if was.kind == "dynamic":
        refuse_live_lease(session, context, subnet, label, within=was, kept=kept)
    if was.kind != "reserved" or subnet.managed:
        return
    statement = select(IpAddress).where(
        IpAddress.subnet_id == subnet.id,
        IpAddress.kind.in_(GIVEN_BY_MUSTER),
        IpAddress.address_key >= was.start_key,
        IpAddress.address_key <= was.end_key,
    )
    if kept is not None:
        statement = statement.where(~IpAddress.address_key.between(*kept))
    given = session.scalar(statement.order_by(IpAddress.address_key).limit(1))
    if given is not None:
        raise Conflict(
            f"{label}: {given.address} is given to {given.hostname or given.kind} from it, and an unmanaged subnet hands out"
            f" only what lies in reserved ranges; release {given.hostname or 'it'}, or ask again with force",
            rule="an unmanaged subnet hands out only what lies inside its reserved ranges",
        )
