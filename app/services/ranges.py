"""Ranges of a subnet: `dynamic` (DHCP leases from it) and `reserved` (Muster keeps away). They never overlap."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import versions
from app.services.addressing import address_key, parse_address, parse_network, usable
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.subnets import address_lock, subnet_row
from app.services.vlans import refuse_unknown
from app.store.locks import hold
from app.store.models import IpAddress, IpRange, Subnet
from app.store.queries.page import page

KINDS = ("dynamic", "reserved")
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
        touch_racks(session, [subnet.vlan.rack_id])
        audit(session, context, "create", "range", row.id, subnet=subnet.cidr, kind=kind, start=row.start, end=row.end)
        return row


def update(context: Context, range_id: int, **changes: Any) -> IpRange:
    """Change a range: kind, start, end, comment."""
    context.require("admin", "change a range")
    refuse_unknown("a range", changes, CHANGEABLE)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        row = _row(session, range_id)
        versions.check(context, row, f"range {row.start}-{row.end}")
        hold(session, address_lock(row.subnet_id))
        subnet = subnet_row(session, row.subnet_id)
        before = {name: getattr(row, name) for name in changes}
        with session.no_autoflush:
            _draw(
                session, subnet, row, changes.get("kind", row.kind), changes.get("start", row.start),
                changes.get("end", row.end),
            )  # fmt: skip
        row.comment = changes.get("comment", row.comment)
        touch_racks(session, [subnet.vlan.rack_id])
        audit(session, context, "update", "range", row.id, **{name: [before[name], changes[name]] for name in changes})
        return row


def delete(context: Context, range_id: int) -> None:
    """Delete a range; its addresses may then be given to machines."""
    context.require("admin", "delete a range")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        row = _row(session, range_id)
        versions.check(context, row, f"range {row.start}-{row.end}")
        subnet = subnet_row(session, row.subnet_id)
        touch_racks(session, [subnet.vlan.rack_id])
        audit(session, context, "delete", "range", row.id, subnet=subnet.cidr, start=row.start, end=row.end)
        session.delete(row)


def _row(session: Session, range_id: int) -> IpRange:
    row = session.get(IpRange, range_id)
    if row is None:
        raise NotFound(f"there is no range {range_id}", field="range_id")
    return row


def _draw(session: Session, subnet: Subnet, row: IpRange, kind: str, start: str, end: str) -> None:
    """Set kind and ends of the row once no rule speaks against them."""
    if kind not in KINDS:
        raise Invalid(f"kind {kind!r}: a range is {' or '.join(KINDS)}", field="kind", rule="a known kind")
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
    if kind == "dynamic":
        _refuse_given(session, subnet, label, start_key, end_key)
    row.kind, row.start, row.end = kind, str(first), str(last)
    row.start_key, row.end_key = start_key, end_key


def _refuse_given(session: Session, subnet: Subnet, label: str, start_key: str, end_key: str) -> None:
    if subnet.gateway and start_key <= address_key(subnet.gateway) <= end_key:
        raise Conflict(
            f"{label} holds the gateway {subnet.gateway}; DHCP would lease it; end the range before it",
            field="start",
            rule="a dynamic range holds no address in use",
        )
    statement = (
        select(IpAddress)
        .where(IpAddress.subnet_id == subnet.id, IpAddress.address_key >= start_key, IpAddress.address_key <= end_key)
        .order_by(IpAddress.address_key)
        .limit(1)
    )
    given = session.scalar(statement)
    if given is not None:
        owner = f" to {given.hostname}" if given.hostname else ""
        raise Conflict(
            f"{label} holds {given.address}, which is given{owner} ({given.kind}); release it or draw the range around it",
            field="start",
            rule="a dynamic range holds no address in use",
        )
