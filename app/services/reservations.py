"""Reservations: an address that is promised to a MAC address, live in DHCP, and in DNS when it is given a name.

An address inside a dynamic range may be reserved where the rack runs Kea, which keeps it from everybody else
(`reservations-out-of-pool` is off); dhcpd leases such an address to others, so it is refused there.  The MAC of a
machine's or device's interface is refused: that interface is linked to the subnet instead (`app.services.links`).  A
reservation whose MAC later turns out to be an interface goes on serving: it belongs to the interface from then on
(`tie`), is shown with it, and the machine is given that very address.

Everything is done for many at once, in a constant number of statements; one is many of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from app.lifecycle.states import State
from app.services import address_records, versions
from app.services.addressing import address_key, parse_address
from app.services.boot import canonical_mac
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.hostnames import NAMING
from app.services.reservation_rules import Checked, Found, Wanted, check, look_up
from app.services.subnets import address_lock
from app.services.vlans import refuse_unknown
from app.store.locks import hold
from app.store.models import Domain, Interface, IpAddress, Machine, Subnet
from app.store.queries.page import page

__all__ = [
    "CHANGEABLE",
    "LARGEST_BATCH",
    "Wanted",
    "create",
    "create_many",
    "delete",
    "find",
    "get",
    "put_many",
    "update",
]
CHANGEABLE = ("address", "mac", "hostname", "comment")
LARGEST_BATCH = 1000
_WRITE = insert(IpAddress)


def find(
    context: Context,
    subnet_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    *,
    mac: str | None = None,
    address: str | None = None,
    hostname: str | None = None,
) -> list[IpAddress]:
    """A page of reservations by id; only those that are as asked."""
    context.require("viewer", "list reservations")
    statement = select(IpAddress).where(IpAddress.kind == "reservation")
    if subnet_id is not None:
        statement = statement.where(IpAddress.subnet_id == subnet_id)
    if mac is not None:
        statement = statement.where(IpAddress.mac == canonical_mac(mac))
    if address is not None:
        statement = statement.where(IpAddress.address_key == address_key(parse_address(address, "address")))
    if hostname is not None:
        statement = statement.where(IpAddress.hostname == hostname.lower())
    with context.store.read() as session:
        return list(session.scalars(page(statement, IpAddress.id, after, limit)))


def get(context: Context, reservation_id: int) -> IpAddress:
    """One reservation. NotFound when there is none."""
    context.require("viewer", "see reservations")
    with context.store.read() as session:
        return _row(session, reservation_id)


def create(context: Context, address: str, mac: str, **words: Any) -> IpAddress:
    """Promise an address to a MAC. words: hostname, comment, subnet_id (found by the address when it is not said).

    Conflict when the address or the MAC is somebody's, Invalid when the address is none of a host of the subnet.
    """
    return create_many(context, [Wanted(address, mac, **words)])[0][0]


def create_many(context: Context, wanted: Sequence[Wanted]) -> tuple[list[IpAddress], int]:
    """Make at most 1000 reservations, all or none; those that are there already, just so, are left as they are.

    The rows in the order of `wanted`, and how many of them are new.
    """
    context.require("operator", "reserve addresses")
    with changing(context) as session:
        return put_many(session, context, wanted)


def put_many(session: Session, context: Context, wanted: Sequence[Wanted]) -> tuple[list[IpAddress], int]:
    """`create_many` inside an open transaction, for whoever imports batch after batch. A constant number of statements."""
    if not 1 <= len(wanted) <= LARGEST_BATCH:
        raise Invalid(
            f"{len(wanted)} reservations at once; send 1 to {LARGEST_BATCH}, and the rest in further requests",
            field="reservations",
            rule=f"1 to {LARGEST_BATCH} at once",
        )
    hold(session, NAMING)
    found = look_up(session, wanted)
    rows: list[IpAddress | None] = []
    new: list[Checked] = []
    for one in found.parsed:
        there = found.same(one)
        if there is None:
            check(found, one)
            new.append(one)
            found.take(one)
        rows.append(there)
    made = iter(_insert(session, context, found, new))
    return [there or next(made) for there in rows], len(new)


def update(context: Context, reservation_id: int, **changes: Any) -> IpAddress:
    """Change address (inside its subnet), mac, hostname or comment; DHCP and DNS follow at once."""
    context.require("operator", "change reservations")
    refuse_unknown("a reservation", changes, CHANGEABLE)
    with changing(context) as session:
        hold(session, NAMING)
        row = _held_row(session, reservation_id)
        owner = _owner(session, row)
        label = f"reservation {row.address} for {row.mac}"
        versions.check(context, row, label)
        if owner is not None:
            _refuse_of_owner(owner, label, changes)
        values = {name: getattr(row, name) for name in CHANGEABLE} | changes
        wanted = Wanted(values["address"], values["mac"], values["hostname"], values["comment"], row.subnet_id)
        found = look_up(session, [wanted])
        one = found.parsed[0]
        check(found, one, me=row.id, owned=owner is not None)
        subnet = session.get_one(Subnet, row.subnet_id, options=[joinedload(Subnet.domain)])
        before = address_records.named(row, subnet)
        held = address_records.held(session, owner) if owner is not None else []
        changed = {name: [getattr(row, name), getattr(one, name)] for name in changes}
        row.address, row.address_key, row.mac = one.address, one.key, one.mac
        row.hostname, row.comment = one.hostname, one.comment
        session.flush()
        if owner is not None:
            address_records.put_owner(session, owner, held)
        elif (after := address_records.named(row, subnet)) != before:
            address_records.drop_reservation(session, before, subnet.domain)
            address_records.put_reservations(session, [after], {subnet.id: subnet.domain})
        audit(session, context, "update", "reservation", row.id, **changed)
        return row


def delete(context: Context, reservation_id: int) -> None:
    """Take a promise back; the address may then be given to others. Conflict while a machine is installed with it."""
    context.require("operator", "delete reservations")
    with changing(context) as session:
        hold(session, NAMING)
        row = _held_row(session, reservation_id)
        owner = _owner(session, row)
        label = f"reservation {row.address} for {row.mac}"
        versions.check(context, row, label)
        if owner is not None:
            _refuse_of_owner(owner, label, {"address": None})
        subnet = session.get_one(Subnet, row.subnet_id, options=[joinedload(Subnet.domain)])
        before = address_records.named(row, subnet)
        held = address_records.held(session, owner) if owner is not None else []
        audit(session, context, "delete", "reservation", row.id, address=row.address, mac=row.mac)
        session.delete(row)
        session.flush()
        if owner is not None:
            address_records.put_owner(session, owner, held)
        else:
            address_records.drop_reservation(session, before, subnet.domain)


def _insert(session: Session, context: Context, found: Found, new: Sequence[Checked]) -> list[IpAddress]:
    """Write the rows, their audit and their records."""
    if not new:
        return []
    now = context.clock()
    values = [
        {
            "subnet_id": one.subnet_id,
            "address": one.address,
            "address_key": one.key,
            "kind": "reservation",
            "mac": one.mac,
            "hostname": one.hostname,
            "comment": one.comment,
            "user_id": context.actor.user_id,
            "created_at": now,
        }
        for one in new
    ]
    try:
        session.connection().execute(_WRITE, values)
    except IntegrityError as error:
        raise Conflict(
            "reservations: someone took one of these addresses at the same moment; look and try again", field="address"
        ) from error
    # By the addresses alone: asked for the subnets as well, SQLite would read all that is in them.
    written = select(IpAddress).where(IpAddress.address_key.in_([one.key for one in new]))
    made = {(row.subnet_id, row.address_key): row for row in session.scalars(written)}
    there = [made[one.subnet_id, one.key] for one in new]
    for row in there:
        audit(session, context, "create", "reservation", row.id, address=row.address, mac=row.mac)
    places = found.places
    rows = [
        address_records.Named(
            one.address, one.mac, one.hostname, one.subnet_id, places[one.subnet_id].cidr, places[one.subnet_id].vlan_id
        )
        for one in new
    ]
    domain_ids = {one.subnet_id: places[one.subnet_id].domain_id for one in new}
    loaded = {row.id: row for row in session.scalars(select(Domain).where(Domain.id.in_(set(domain_ids.values()))))}
    address_records.put_reservations(session, rows, {subnet_id: loaded[one] for subnet_id, one in domain_ids.items()})
    return there


def _row(session: Session, reservation_id: int) -> IpAddress:
    row = session.get(IpAddress, reservation_id, populate_existing=True)
    if row is None or row.kind != "reservation":
        raise NotFound(f"there is no reservation {reservation_id}", field="reservation_id")
    return row


def _held_row(session: Session, reservation_id: int) -> IpAddress:
    """The reservation, with its subnet's addresses locked against whoever gives them."""
    hold(session, address_lock(_row(session, reservation_id).subnet_id))
    return _row(session, reservation_id)


def _owner(session: Session, row: IpAddress) -> address_records.Owner | None:
    """The machine or device whose interface the reservation belongs to."""
    if row.interface_id is None:
        return None
    interface = session.get_one(Interface, row.interface_id)
    return interface.machine or interface.device


def _refuse_of_owner(owner: address_records.Owner, label: str, changes: dict[str, Any]) -> None:
    """Conflict when a reservation that belongs to an interface should be another's, or an installed machine has it."""
    for name in ("mac", "hostname"):
        if name in changes:
            raise Conflict(
                f"{label}: it belongs to an interface of {owner.hostname}, so its {name} is that one's; change"
                f" {owner.hostname} instead",
                field=name,
                rule="an interface has one MAC address, and its owner's name",
            )
    if "address" in changes and isinstance(owner, Machine):
        state = State(owner.state)
        if state.is_transient or state is State.DEPLOYED:
            raise Conflict(
                f"{label}: {owner.hostname} is {state.label} with this address; release it first",
                field="address",
                rule="an installed machine keeps its address",
                remedy=f"release {owner.hostname}",
            )
