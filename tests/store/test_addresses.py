"""Addresses are given once, at the lowest free place, also when many ask at the same time."""

from __future__ import annotations

import ipaddress
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select
from sqlalchemy.exc import IntegrityError

from app.services import addresses, devices, fabrics, links, ranges, reservations, subnets
from app.services.addressing import address_key
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict
from app.store.models import Interface, IpAddress, Machine, Operation, RecordChange, Subnet
from app.store.queries.scopes import scopes_of_rack
from tests.factories.control import Seeded, make_machine, seed


def claim(context: Context, machine_id: int) -> str:
    """Claim for one machine in a transaction of its own."""
    with changing(context) as session:
        machine = session.get(Machine, machine_id)
        assert machine is not None
        return addresses.claim(session, context, machine)


def machine_in(context: Context, seeded: Seeded, cidr: str, count: int = 1) -> tuple[Subnet, list[int]]:
    """A new subnet on the seeded VLAN and machines that boot in it."""
    subnet = subnets.create(context, cidr, seeded.vlan_id)
    machines = [make_machine(context, seeded) for _ in range(count)]
    with context.store.write() as session:
        for interface in session.scalars(select(Interface).where(Interface.machine_id.in_(machines))):
            interface.subnet_id = subnet.id
    return subnet, machines


def test_threads_never_get_the_same_address(context: Context) -> None:
    """Forty machines that ask at once get forty different addresses, none of them gateway, rack's or dynamic."""
    seeded = seed(context)
    machines = [make_machine(context, seeded) for _ in range(40)]
    with ThreadPoolExecutor(10) as pool:
        given = list(pool.map(lambda machine_id: claim(context, machine_id), machines))

    assert sorted(given, key=ipaddress.ip_address) == [f"10.20.0.{number}" for number in range(2, 42)]


def test_a_second_row_for_an_address_is_refused_by_the_database(context: Context) -> None:
    """Whatever slips past the lock is stopped by the constraint."""
    seeded = seed(context)
    rows = [
        IpAddress(subnet_id=seeded.subnet_id, address="10.20.0.9", address_key=address_key("10.20.0.9"))
        for _ in range(2)
    ]
    with context.store.write() as session:
        session.add(rows[0])

    with pytest.raises(IntegrityError), context.store.write() as session:
        session.add(rows[1])


def test_an_address_that_appears_meanwhile_is_passed_over(context: Context) -> None:
    """When the lowest address is taken between looking and writing, the next one is given."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded)
    intruded: list[str] = []

    with changing(context) as session:
        machine = session.get(Machine, machine_id)
        assert machine is not None

        def intrude(connection: Connection, cursor: Any, text: str, *rest: Any) -> None:
            """Take the address that was just found, past the lock, before it is written."""
            if text.startswith("INSERT INTO ip_address") and not intruded:
                intruded.append(text)
                row = {"subnet_id": seeded.subnet_id, "address": "10.20.0.2", "address_key": address_key("10.20.0.2")}
                statement = insert(IpAddress).values(**row, kind="user_reserved", created_at=context.clock())
                connection.execute(statement)

        event.listen(session.connection(), "before_cursor_execute", intrude)
        address = addresses.claim(session, context, machine)

    assert intruded
    assert address == "10.20.0.3"


def test_claim_is_repeatable_and_free_gives_back(context: Context) -> None:
    """A machine that asks again keeps its address; after `free` the address and all its records are gone."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded, "web1")
    first, second = claim(context, machine_id), claim(context, machine_id)
    with context.store.read() as session:
        mac = session.scalar(select(Interface.mac).where(Interface.machine_id == machine_id))
        written = {(row.scope, row.key): row.value for row in session.scalars(select(RecordChange))}
    with changing(context) as session:
        machine = session.get(Machine, machine_id)
        assert machine is not None
        addresses.free(session, context, machine)
    with context.store.read() as session:
        left = session.scalar(select(func.count()).select_from(IpAddress).where(IpAddress.kind == "auto"))
        newest = {
            (row.scope, row.key): row.value
            for row in session.scalars(select(RecordChange).order_by(RecordChange.sequence))
        }

    assert first == second == "10.20.0.2"
    assert written == {
        (f"vlan:{seeded.vlan_id}", f"host:{seeded.subnet_id}:{mac}"): {
            "subnet_id": seeded.subnet_id,
            "mac": mac,
            "address": "10.20.0.2",
            "hostname": "web1",
        },
        ("zone:0.20.10.in-addr.arpa", "rrset:2.0.20.10.in-addr.arpa.:PTR"): {
            "name": "2.0.20.10.in-addr.arpa.",
            "type": "PTR",
            "ttl": 30,
            "rdatas": ["web1.lab.muster."],
        },
        ("zone:lab.muster", "rrset:web1.lab.muster.:A"): {
            "name": "web1.lab.muster.",
            "type": "A",
            "ttl": 30,
            "rdatas": ["10.20.0.2"],
        },
        ("zone:lab.muster", "rrset:web1.lab.muster.:AAAA"): None,
    }
    assert left == 0
    assert set(newest) == set(written)
    assert [value for value in newest.values() if value is not None] == []


def test_scopes_of_the_records_are_the_racks(context: Context) -> None:
    """What a claim writes goes to scopes that the seeded rack applies."""
    seeded = seed(context)
    claim(context, make_machine(context, seeded))
    with context.store.read() as session:
        written = set(session.scalars(select(RecordChange.scope)))
        served = set(scopes_of_rack(session, seeded.rack_id))

    assert written <= served


@pytest.mark.parametrize(("cidr", "first"), [("2001:db8::/64", "2001:db8::1"), ("11.0.0.0/8", "11.0.0.1")])
def test_wide_networks_cost_as_little_as_small_ones(context: Context, cidr: str, first: str) -> None:
    """In a /64 or a /8 the lowest free address is found at once; a range in front of it is jumped over."""
    seeded = seed(context)
    subnet, machines = machine_in(context, seeded, cidr, 2)
    network = ipaddress.ip_network(cidr)
    high = network.network_address + network.num_addresses // 2
    given = claim(context, machines[0])
    ranges.create(context, subnet.id, "reserved", str(ipaddress.ip_address(first) + 1), str(high))

    assert given == first
    assert claim(context, machines[1]) == str(high + 1)


def test_a_full_subnet_is_named(context: Context) -> None:
    """When nothing is free, the refusal names the subnet and the machine."""
    seeded = seed(context)
    subnet, machines = machine_in(context, seeded, "10.30.0.0/30", 3)
    given = [claim(context, machine_id) for machine_id in machines[:2]]
    with pytest.raises(Conflict) as refused:
        claim(context, machines[2])

    assert given == ["10.30.0.1", "10.30.0.2"]
    assert subnet.cidr in refused.value.detail


def test_more_addresses_than_a_page(context: Context) -> None:
    """The walk over used addresses goes on over its pages."""
    seeded = seed(context)
    subnet, (machine_id,) = machine_in(context, seeded, "10.40.0.0/16")
    base = ipaddress.ip_address("10.40.0.0")
    used = [str(base + number) for number in range(1, 2500) if number != 2345]
    with context.store.write() as session:
        session.add_all(
            IpAddress(subnet_id=subnet.id, address=address, address_key=address_key(address), kind="user_reserved")
            for address in used
        )

    assert claim(context, machine_id) == str(base + 2345)


def test_one_running_operation_per_machine(context: Context) -> None:
    """A second running operation of a machine is refused by the database; finished ones do not count."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded)
    with context.store.write() as session:
        session.add(Operation(machine_id=machine_id, action="commission", step="boot", status="succeeded"))
        session.add(Operation(machine_id=machine_id, action="commission", step="boot"))

    with pytest.raises(IntegrityError), context.store.write() as session:
        session.add(Operation(machine_id=machine_id, action="deploy", step="address"))


def test_reserved_addresses_are_passed_over(context: Context) -> None:
    """An address that a person reserved is not given, and reserving a given one is refused with its owner."""
    seeded = seed(context)
    addresses.reserve(context, seeded.subnet_id, "10.20.0.2", "printer")
    given = claim(context, make_machine(context, seeded, "web1"))
    with pytest.raises(Conflict) as refused:
        addresses.reserve(context, seeded.subnet_id, "10.20.0.3")

    assert given == "10.20.0.3"
    assert "web1" in refused.value.detail
    assert fabrics.find(context)[0].name == "fabric-0"


@pytest.mark.parametrize("attempt", range(5))
def test_a_gateway_is_nobodys_address(context: Context, attempt: int) -> None:
    """When a gateway is set while machines take addresses, one of both gives way: no machine has the gateway."""
    seeded = seed(context)
    machines = [make_machine(context, seeded) for _ in range(3)]

    def set_gateway() -> str | None:
        try:
            return subnets.update(context, seeded.subnet_id, gateway="10.20.0.3").gateway
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as pool:
        change = pool.submit(set_gateway)
        given = list(pool.map(lambda machine_id: claim(context, machine_id), machines))

    assert len(set(given)) == 3
    assert (change.result() is None) is ("10.20.0.3" in given)


@pytest.mark.parametrize("boots_by", ["10.20.0.0/24", "2001:db8::/64"])
def test_a_machine_without_links_gets_both_families_of_its_vlan(context: Context, boots_by: str) -> None:
    """Its boot interface gets an address in the subnet it boots from and one of the other family; both go at release."""
    seeded = seed(context)
    six, machines = machine_in(context, seeded, "2001:db8::/64", 1)
    by_cidr = {"10.20.0.0/24": seeded.subnet_id, "2001:db8::/64": six.id}
    with context.store.write() as session:
        interface = session.scalars(select(Interface).where(Interface.machine_id == machines[0])).one()
        interface.subnet_id = by_cidr[boots_by]
    given = claim(context, machines[0])
    with context.store.read() as session:
        held = {row.address for row in session.scalars(select(IpAddress).where(IpAddress.kind == "auto"))}
        records = session.scalars(select(RecordChange)).all()
        hosts = {row.value["address"] for row in records if row.key.startswith("host:") and row.value}
        names = {row.key.rpartition(":")[2] for row in records if row.scope == "zone:lab.muster" and row.value}
    with context.store.write() as session:
        addresses.free(session, context, session.get_one(Machine, machines[0]))
        left = session.scalars(select(IpAddress).where(IpAddress.kind == "auto")).all()

    assert ({"10.20.0.2", "2001:db8::1"}, []) == (held, left)
    assert (held, {"A", "AAAA"}) == (hosts, names - {"NS"})
    assert ("10.20.0.2" if boots_by.startswith("10.") else "2001:db8::1") == given


def test_many_writers_never_share_an_address(context: Context) -> None:
    """Machines, devices, reservations, links and people ask at once: nobody has another's, and DHCP knows each one."""
    seeded = seed(context)
    machines = [make_machine(context, seeded) for _ in range(8)]
    linked = [make_machine(context, seeded) for _ in range(4)]
    with context.store.read() as session:
        interfaces = dict(
            session.execute(select(Interface.machine_id, Interface.id).where(Interface.machine_id.in_(linked))).all()
        )
    wish = [{"subnet_id": seeded.subnet_id, "mode": "auto"}]
    mac = "52:54:02:00:{:02x}:{:02x}".format

    def ask(number: int) -> None:
        with suppress(Conflict):
            reservations.create(context, f"10.20.0.{2 + number}", mac(0, number))

    calls: list[Any] = [
        *(lambda one=one: claim(context, one) for one in machines),
        *(lambda one=one: links.put(context, interfaces[one], seeded.subnet_id, "sticky") for one in linked),
        *(
            lambda n=n: devices.create(context, f"d{n}", interfaces=[{"mac": mac(1, n), "links": wish}])
            for n in range(4)
        ),
        *(lambda n=n: ask(n) for n in range(8)),
    ]
    random.Random(4).shuffle(calls)
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()
    with context.store.read() as session:
        given = list(session.scalars(select(IpAddress.address).where(IpAddress.kind != "rack")))
        newest: dict[str, Any] = {}
        for record in session.scalars(select(RecordChange).order_by(RecordChange.sequence)):
            newest[record.key] = record.value
    hosts = [value["address"] for key, value in newest.items() if key.startswith("host:") and value]

    assert len(given) >= 16
    assert len(set(given)) == len(given)
    assert sorted(given) == sorted(hosts)
    assert not {"10.20.0.1", *(f"10.20.0.{n}" for n in range(100, 200))} & set(given)


def test_an_import_takes_turns_with_claims(context: Context) -> None:
    """A batch of reservations is made whole or not at all while machines take addresses of the same subnet."""
    seeded = seed(context)
    machines = [make_machine(context, seeded) for _ in range(6)]
    rows = [reservations.Wanted(f"10.20.0.{n}", f"52:54:02:00:02:{n:02x}") for n in range(4, 60)]

    def load() -> int:
        try:
            return len(reservations.create_many(context, rows)[0])
        except Conflict:
            return 0

    with ThreadPoolExecutor(4) as pool:
        loading = pool.submit(load)
        given = list(pool.map(lambda machine_id: claim(context, machine_id), machines))
    there = len(reservations.find(context, seeded.subnet_id))

    assert len(set(given)) == 6
    assert there == loading.result()
    assert there in (0, len(rows))
