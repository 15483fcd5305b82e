"""Machines made many at a time, with interfaces and addresses: a constant number of statements for a batch.

What is refused is what `machines.create` and `links` refuse one by one; a batch is made whole or not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session, joinedload

from app.lifecycle.states import State
from app.services import address_records, addresses, hostnames
from app.services.addressing import address_key, address_of, canonical_address, parse_network
from app.services.boot import canonical_mac
from app.services.changes import audit, event
from app.services.context import Context
from app.services.enlistment import first_place
from app.services.errors import Conflict, Invalid
from app.services.free_space import free_parts
from app.services.names import fqdn
from app.services.records import put_host, put_names, put_pointer
from app.services.subnets import address_lock
from app.store.locks import hold
from app.store.models import Domain, Interface, InterfaceLink, IpAddress, Machine, Pool, Subnet, Zone

MODES = ("auto", "sticky", "static", "dhcp")


def put_many(session: Session, context: Context, items: Sequence[dict[str, Any]]) -> list[int]:
    """Make machines known: NEW, each with its interfaces, the boot interface first, and their addresses; their ids.

    An interface says its MAC, and where it is linked a subnet_id, a mode and, for mode static, the address.  Sticky ones
    get the lowest free address at once, auto ones at deploy.
    """
    context.require("operator", "add machines")
    hold(session, hostnames.NAMING)
    names = [hostnames.checked(item["hostname"]) for item in items]
    macs = [[canonical_mac(one["mac"]) for one in item["interfaces"]] for item in items]
    places = {model: _by_name(session, model, items, word) for model, word in _PLACES}
    _refuse_taken(session, names, macs, [places[Domain][item.get("domain")].id for item in items])
    subnets = _subnets(session, items)
    now = context.clock()
    rows = [
        {
            "hostname": name,
            "domain_id": places[Domain][item.get("domain")].id,
            "zone_id": places[Zone][item.get("zone")].id,
            "pool_id": places[Pool][item.get("pool")].id,
            "architecture": item.get("architecture") or "amd64",
            "state": State.NEW.value,
            "state_since": now,
            "created_at": now,
            "power_state": "unknown",
            "cpu_count": 0,
            "memory_mib": 0,
            "storage_bytes": 0,
            "ssh_host_keys": [],
            "version": 1,
        }
        for name, item in zip(names, items, strict=True)
    ]
    machine_ids = _write(session, Machine, rows, Machine.hostname)
    held = _interfaces(session, context, items, names, macs, machine_ids, subnets)
    for machine_id, name, item in zip(machine_ids, names, items, strict=True):
        domain = places[Domain][item.get("domain")]
        if held[machine_id]:
            _put_records(session, name, domain, held[machine_id])
        audit(session, context, "create", "machine", machine_id, hostname=name)
        message = f"{name} was added by {context.actor.name}."
        event(session, context, "machine.enlisted", message, machine_id=machine_id, state=State.NEW.value)
    _tie(session, [mac for mine in macs for mac in mine])
    return machine_ids


def _interfaces(
    session: Session,
    context: Context,
    items: Sequence[dict[str, Any]],
    names: Sequence[str],
    macs: Sequence[Sequence[str]],
    machine_ids: Sequence[int],
    subnets: dict[int, Subnet],
) -> dict[int, list[address_records.Held]]:
    """Write interfaces, links and addresses; what each machine holds, the boot interface's first."""
    flat: list[tuple[int, str, dict[str, Any], dict[str, Any]]] = []
    for machine_id, name, item, mine in zip(machine_ids, names, items, macs, strict=True):
        for number, (given, mac) in enumerate(zip(item["interfaces"], mine, strict=True)):
            subnet = subnets.get(given.get("subnet_id") or 0)
            row = {
                "machine_id": machine_id,
                "name": given.get("name") or f"eth{number}",
                "mac": mac,
                "boot": number == 0,
                "vlan_id": subnet.vlan_id if subnet is not None else None,
                "subnet_id": subnet.id if subnet is not None else None,
            }
            flat.append((machine_id, name, given, row))
    if not flat:
        return defaultdict(list)
    ids = _write(session, Interface, [row for *_, row in flat], Interface.mac)
    linked = [
        (interface_id, *one) for interface_id, one in zip(ids, flat, strict=True) if one[3]["subnet_id"] is not None
    ]
    if linked:
        links = [
            {"interface_id": interface_id, "subnet_id": row["subnet_id"], "mode": given.get("mode") or "auto"}
            for interface_id, _, _, given, row in linked
        ]
        session.connection().execute(insert(InterfaceLink), links)
        _refuse_reserved(session, [(given, row) for *_, given, row in linked], subnets)
    free = _free_addresses(session, context, linked, subnets)
    rows: list[dict[str, Any]] = []
    whose: list[tuple[int, dict[str, Any]]] = []
    for interface_id, machine_id, name, given, row in linked:
        mode = given.get("mode") or "auto"
        if mode not in ("sticky", "static"):
            continue
        subnet = subnets[row["subnet_id"]]
        address = next(free[subnet.id]) if mode == "sticky" else addresses.check_free(session, subnet, given["address"])
        rows.append(
            {
                "subnet_id": subnet.id,
                "address": address,
                "address_key": address_key(address),
                "kind": mode,
                "interface_id": interface_id,
                "hostname": name,
                "comment": "",
                "created_at": context.clock(),
            }
        )
        whose.append((machine_id, row))
    held: dict[int, list[address_records.Held]] = defaultdict(list)
    if not rows:
        return held
    made = _write(session, IpAddress, rows, IpAddress.interface_id)
    for address_id, values, (machine_id, row) in zip(made, rows, whose, strict=True):
        subnet = subnets[values["subnet_id"]]
        held[machine_id].append(
            address_records.Held(
                address_id, values["address"], values["kind"], values["interface_id"], row["name"], row["boot"],
                row["mac"], subnet.id, subnet.cidr, subnet.vlan_id, subnet.reverse_dns,
            )
        )  # fmt: skip
        audit(session, context, "claim", "address", address_id, address=values["address"], machine=values["hostname"])
    return held


def _write(session: Session, model: Any, rows: Sequence[dict[str, Any]], unique: Any) -> list[int]:
    """Insert rows in one go; their ids, found again by a column that is unique among them."""
    session.connection().execute(insert(model), rows)
    wanted = [row[unique.key] for row in rows]
    found = {row[0]: row[1] for row in session.connection().execute(select(unique, model.id).where(unique.in_(wanted)))}
    return [found[value] for value in wanted]


def _free_addresses(
    session: Session, context: Context, linked: Sequence[Any], subnets: dict[int, Subnet]
) -> dict[int, Iterator[str]]:
    """For each subnet as many of its lowest free addresses as are wanted, without those that are named here."""
    counts: dict[int, int] = defaultdict(int)
    named: dict[int, set[str]] = defaultdict(set)
    for _, _, _, given, row in linked:
        if given.get("mode") == "sticky":
            counts[row["subnet_id"]] += 1
        elif given.get("mode") == "static":
            named[row["subnet_id"]].add(canonical_address(given["address"], "address"))
    found: dict[int, Iterator[str]] = {}
    for subnet_id, count in counts.items():
        subnet = subnets[subnet_id]
        chosen: list[str] = []
        network = parse_network(subnet.cidr)
        for low, high in free_parts(session, context, subnet, None, count + len(named[subnet_id]) + 1):
            for number in range(low, min(high, low + count + len(named[subnet_id])) + 1):
                if len(chosen) < count and (address := address_of(number, network)) not in named[subnet_id]:
                    chosen.append(address)
        if len(chosen) < count:
            raise Conflict(
                f"subnet {subnet.cidr}: {len(chosen)} addresses are free, {count} are wanted; shorten a range, add one, or"
                " release machines",
                field="interfaces",
                rule="an address is given once",
            )
        found[subnet_id] = iter(chosen)
    return found


def _refuse_reserved(
    session: Session, linked: Sequence[tuple[dict[str, Any], dict[str, Any]]], subnets: dict[int, Subnet]
) -> None:
    """Conflict when an interface would get a second address beside the one that is reserved for its MAC in the subnet."""
    wanted = {(row["mac"], row["subnet_id"]) for given, row in linked if given.get("mode") in ("sticky", "static")}
    reserved = select(IpAddress.mac, IpAddress.subnet_id, IpAddress.address, IpAddress.id).where(
        IpAddress.kind == "reservation", IpAddress.mac.in_({mac for mac, _ in wanted})
    )
    for mac, subnet_id, address, number in session.execute(reserved):
        if (mac, subnet_id) in wanted:
            raise Conflict(
                f"MAC address {mac}: {address} is reserved for it in subnet {subnets[subnet_id].cidr} (reservation {number});"
                " link it with mode auto, which keeps that address, or delete the reservation first",
                field="interfaces",
                rule="a reservation is kept until it is deleted",
            )


def _put_records(session: Session, hostname: str, domain: Domain, held: Sequence[address_records.Held]) -> None:
    for name, mine in address_records.names(fqdn(hostname, domain.name)[:-1], held).items():
        put_names(session, domain.name, name, domain.ttl_seconds, [one.address for one in mine])
        for one in mine:
            put_host(session, one.vlan_id, one.subnet_id, one.mac, one.address, hostname)
            put_pointer(session, one.address, one.cidr, domain.ttl_seconds, name)


def _refuse_taken(
    session: Session, names: Sequence[str], macs: Sequence[Sequence[str]], domain_ids: Sequence[int]
) -> None:
    every = [mac for mine in macs for mac in mine]
    for words, what, field in ((names, "hostname", "hostname"), (every, "MAC address", "interfaces")):
        if (
            twice := next((word for word in words if words.count(word) > 1), None)
            if len(set(words)) < len(words)
            else None
        ):
            raise Conflict(f"{what} {twice}: it is named twice here", field=field, rule=f"a {what} is given once")
    taken = session.scalar(select(Interface.mac).where(Interface.mac.in_(every)).limit(1))
    if taken is not None:
        raise Conflict(
            f"MAC address {taken}: another machine or device has it; delete that one first",
            field="interfaces",
            rule="a MAC address belongs to one interface",
        )
    holders = hostnames.holders(session, names)
    for name, mine, domain_id in zip(names, macs, domain_ids, strict=True):
        for holder in holders.get(name, ()):
            if holder.mac not in mine and holder.excludes(domain_id, None, None):
                raise hostnames.taken(holder)


_PLACES: tuple[tuple[Any, str], ...] = ((Domain, "domain"), (Zone, "zone"), (Pool, "pool"))


def _by_name(session: Session, model: Any, items: Sequence[dict[str, Any]], word: str) -> dict[str | None, Any]:
    """The rows that the items name; under None the one for those that name none."""
    wanted = {item.get(word) for item in items}
    found: dict[str | None, Any] = {
        row.name: row for row in session.scalars(select(model).where(model.name.in_([name for name in wanted if name])))
    }
    if missing := sorted(name for name in wanted if name and name not in found):
        raise Invalid(f"{word} {missing[0]}: there is none of this name; make it first", field=word)
    if None in wanted:
        first = select(model).order_by(model.id).limit(1)
        found[None] = session.scalar(first) if model is Domain else session.get_one(model, first_place(session, model))
    return found


def _subnets(session: Session, items: Sequence[dict[str, Any]]) -> dict[int, Subnet]:
    """The subnets that interfaces are linked to, their addresses locked. Invalid, Conflict."""
    wanted = sorted({one["subnet_id"] for item in items for one in item["interfaces"] if one.get("subnet_id")})
    statement = select(Subnet).where(Subnet.id.in_(wanted)).options(joinedload(Subnet.domain)).order_by(Subnet.id)
    found = {row.id: row for row in session.scalars(statement)} if wanted else {}
    if missing := [number for number in wanted if number not in found]:
        raise Invalid(f"subnet_id {missing[0]}: there is no such subnet; list the subnets", field="interfaces")
    for item in items:
        for one in item["interfaces"]:
            mode, address = one.get("mode") or "auto", one.get("address")
            if mode not in MODES or (address is None) is (mode == "static") or (address and not one.get("subnet_id")):
                raise Invalid(
                    f"interface {one['mac']}, mode {mode}, address {address}: choose {', '.join(MODES)}, and name an address"
                    " in a subnet for mode static, and only then",
                    field="interfaces",
                    rule="an address is named for mode static, and only then",
                )
    for number in wanted:
        hold(session, address_lock(number))
    return found


def _tie(session: Session, macs: Sequence[str]) -> None:
    """Reservations of MACs that are now interfaces belong to these."""
    reserved = (
        select(Interface.machine_id)
        .join(IpAddress, IpAddress.mac == Interface.mac)
        .where(IpAddress.kind == "reservation", Interface.mac.in_(macs))
    )
    for machine in session.scalars(select(Machine).where(Machine.id.in_(reserved))).all():
        addresses.tie(session, machine)
