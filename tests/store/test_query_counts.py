"""Lists cost the same number of statements however long they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from app.config import load
from app.factory import create_app
from app.services import (
    devices,
    interfaces,
    machines,
    rack_overview,
    racks,
    ranges,
    records,
    reservations,
    routes,
    subnet_use,
    subnets,
)
from app.services.changes import changing
from app.services.context import Context
from app.store.intent import load_intent
from app.store.models import (
    Device,
    DhcpSnippet,
    DnsRecord,
    DnsSecondary,
    Domain,
    Interface,
    InterfaceLink,
    IpAddress,
    IpRange,
    Rack,
    Space,
    StaticRoute,
    Subnet,
    Tag,
    Vlan,
)
from tests.api.conftest import Caller, sign_up
from tests.factories.control import Seeded, make_context, make_machine, seed

MANY = 50


@contextmanager
def statements(context: Context) -> Iterator[list[str]]:
    """The statements that the database is given meanwhile."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(context.store.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(context.store.engine, "before_cursor_execute", note)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


@pytest.fixture
def application(context: Context, seeded: Seeded, tmp_path: Path) -> Flask:
    return create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state")}))


def add_one(context: Context, seeded: Seeded, number: int) -> None:
    """One more machine with tags and an address, a rack, and a served VLAN with a subnet and a range."""
    machine_id = make_machine(context, seeded, tags=("all", f"tag-{number}"), owner_id=seeded.user_id)
    with changing(context) as session:
        interface = session.scalars(select(Interface).where(Interface.machine_id == machine_id)).one()
        address = f"10.20.0.{number + 2}"
        row = IpAddress(subnet_id=seeded.subnet_id, address=address, address_key=f"{number:032x}", kind="auto")
        row.interface_id = interface.id
        interfaces = [{"name": "eth1", "mac": f"02:00:00:00:01:{number:02x}", "addresses": [f"10.30.{number}.1/24"]}]
        rack = Rack(name=f"r{number:03}", token_hash=f"t{number}", interfaces=interfaces, enrolled_at=context.clock())
        vlan = Vlan(fabric_id=seeded.fabric_id, vid=number + 1, dhcp_on=True, rack_id=seeded.rack_id)
        vlan.space = Space(name=f"space-{number}")
        session.add_all([row, rack, vlan])
        first = session.get_one(Rack, seeded.rack_id)
        first.interfaces = [*first.interfaces, {**interfaces[0], "addresses": [f"10.30.{number}.2/24"]}]
        session.flush()
        subnet = Subnet(cidr=f"10.30.{number}.0/24", name=f"s{number}", vlan_id=vlan.id, domain_id=seeded.domain_id)
        session.add(subnet)
        session.flush()
        start, end = f"10.30.{number}.100", f"10.30.{number}.200"
        keys = {"start_key": f"{number:030x}00", "end_key": f"{number:030x}ff"}
        session.add(IpRange(subnet_id=subnet.id, kind="dynamic", start=start, end=end, **keys))
        session.add(Tag(name=f"alone-{number}"))
        session.add(
            StaticRoute(source_id=seeded.subnet_id, destination_id=subnet.id, gateway=f"10.20.0.{number + 200}")
        )
        session.add(DnsRecord(domain_id=seeded.domain_id, name=f"n{number}", type="A", data=f"192.0.2.{number}"))
        session.add(Domain(name=f"d{number}.example"))
        session.add(
            DhcpSnippet(
                name=f"s{number}", scope="subnet", subnet_id=subnet.id, body="domain-name x", created_at=context.clock()
            )
        )
        session.add(DnsSecondary(name=f"ns{number}", address="192.0.2.1", key_name=f"k{number}", secret="x"))
        session.add(InterfaceLink(interface_id=interface.id, subnet_id=seeded.subnet_id, mode="auto"))
        device = Device(hostname=f"d-{number}", domain_id=seeded.domain_id, zone_id=seeded.zone_id)
        device.interfaces = [Interface(name="eth0", mac=f"52:54:03:00:00:{number:02x}", subnet_id=subnet.id)]
        session.add(device)
        session.flush()
        for place, words in (
            (50, {"kind": "static", "interface_id": device.interfaces[0].id}),
            (60, {"kind": "reservation", "mac": f"52:54:03:00:01:{number:02x}", "hostname": f"kept-{number}"}),
        ):
            address, key = f"10.30.{number}.{place}", f"{number:030x}{place:02x}"
            session.add(IpAddress(subnet_id=subnet.id, address=address, address_key=key, **words))


def read_intent(context: Context, seeded: Seeded) -> int:
    """How many VLANs the rack's intent has."""
    with context.store.read() as session:
        return len(load_intent(session, seeded.rack_id).vlans)


READS: dict[str, Callable[[Context, Seeded], Any]] = {
    "machines": lambda context, seeded: len(machines.find(context, limit=500)),
    "racks": lambda context, seeded: len(racks.find(context, limit=500)),
    "subnets": lambda context, seeded: len(subnets.find(context, limit=500)),
    "intent": read_intent,
    "devices": lambda context, seeded: len(devices.find(context, limit=500)),
    "interfaces of devices": lambda context, seeded: len(interfaces.find(context, limit=500)) // 2,
    "reservations": lambda context, seeded: len(reservations.find(context, limit=500)),
    "routes": lambda context, seeded: len(routes.find(context, limit=500)),
    "ranges": lambda context, seeded: len(ranges.find(context, limit=500)),
    "who has which address": lambda context, seeded: len(subnet_use.addresses(context, seeded.subnet_id, limit=500)),
    "a subnet in numbers": lambda context, seeded: subnet_use.statistics(context, seeded.subnet_id).by_kind["auto"],
}


def test_services_ask_a_constant_number_of_questions(context: Context, seeded: Seeded) -> None:
    """Fifty things cost as many statements as one."""
    found: list[dict[str, int]] = []
    asked: list[dict[str, int]] = []
    for numbers in (range(1, 2), range(2, MANY + 1)):
        for number in numbers:
            add_one(context, seeded, number)
        found.append({})
        asked.append({})
        for name, read in READS.items():
            with statements(context) as seen:
                found[-1][name] = read(context, seeded)
            asked[-1][name] = len(seen)

    assert dict.fromkeys(READS, MANY - 1) == {name: found[1][name] - found[0][name] for name in READS}
    assert asked[0] == asked[1]


def test_a_racks_page_asks_a_constant_number_of_questions(context: Context, seeded: Seeded) -> None:
    """Its overview and its records do not grow with the fleet."""
    counts = []
    for numbers in (range(1, 2), range(2, MANY + 1)):
        for number in numbers:
            add_one(context, seeded, number)
        with statements(context) as seen:
            rack_overview.of_rack(context, seeded.rack_id)
            records.after(context, seeded.rack_id, 0)
        counts.append(len(seen))

    assert counts[0] == counts[1]


def test_an_import_costs_the_same_statements_however_many(context: Context, seeded: Seeded) -> None:
    """Five hundred reservations with names are made by as many statements as two."""
    counts = []
    for first, count in ((2, 2), (10, 500)):
        subnets.create(context, f"10.4{first % 7}.0.0/16", seeded.vlan_id)
        wanted = [
            reservations.Wanted(f"10.4{first % 7}.{n >> 8}.{n & 255}", f"52:54:04:{first:02x}:{n >> 8:02x}:{n & 255:02x}",
                                hostname=f"r-{first}-{n}")
            for n in range(1, count + 1)
        ]  # fmt: skip
        with statements(context) as seen:
            rows, created = reservations.create_many(context, wanted)
        counts.append(len(seen))

        assert (count, [one.address for one in wanted]) == (created, [row.address for row in rows])

    assert counts[0] == counts[1]


PATHS = (
    "machines", "racks", "subnets", "devices", "interfaces", "reservations", "routes", "addresses", "subnets/1/addresses",
    "subnets/1/free-ranges", "subnets/1/stale-gateways",
    "subnets/1/stale-routes", "domains/1/stale-names", "vlans", "ranges", "tags", "fabrics", "domains", "events", "audit",
    "users",
)  # fmt: skip
PAGES = (
    "/", "/machines", "/racks", "/networks", "/subnets/1", "/subnets/1?block=10.20.0.0/25", "/domains", "/domains/1",
    "/snippets", "/devices", "/devices/1",
    "/events", "/audit",
    "/users", "/settings", "/account",
)  # fmt: skip


def test_a_reservation_reads_no_more_among_many(context: Context, seeded: Seeded) -> None:
    """Whoever is in the way is found by index, and not among all that the subnet or nobody's interface has."""
    if context.store.engine.dialect.name != "sqlite":
        return  # PostgreSQL chooses by what it knows of the table.
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        if statement.startswith("SELECT") and "ip_address" in statement:
            asked.append((statement, values))

    event.listen(context.store.engine, "before_cursor_execute", note)
    try:
        reservations.create(context, "10.20.0.40", "52:54:00:00:aa:01", hostname="printer")
        reservations.create_many(
            context,
            [
                reservations.Wanted(f"10.20.0.{50 + n}", f"52:54:00:00:bb:{n:02x}", hostname=f"desk{n}")
                for n in range(20)
            ],
        )
    finally:
        event.remove(context.store.engine, "before_cursor_execute", note)
    with context.store.engine.connect() as connection:
        plans = [
            str(row[3])
            for statement, values in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    found = [step for step in plans if "ip_address" in step]

    assert len(found) >= 4
    assert [] == [
        step for step in found if "address_key=" not in step and "mac=" not in step and "hostname=" not in step
    ]


def test_answers_ask_a_constant_number_of_questions(context: Context, seeded: Seeded, application: Flask) -> None:
    """Writing a page of the API or of the web asks nothing of its own for each line."""
    admin: Caller = sign_up(context, application, "root", "admin")
    paths = [f"/api/v1/{path}?limit=500" for path in PATHS] + list(PAGES)
    headers = {"Authorization": f"Bearer {admin.token}"}
    counts: list[dict[str, int]] = []
    for numbers in (range(1, 2), range(2, MANY + 1)):
        for number in numbers:
            add_one(context, seeded, number)
        counts.append({})
        for path in paths:
            with statements(context) as seen:
                assert 200 == admin.client.get(path, headers=headers).status_code
            counts[-1][path] = len(seen)
        for path in paths:  # The first call of all notes the token's use.
            with statements(context) as seen:
                admin.client.get(path, headers=headers)
            counts[-1][path] = len(seen)

    assert counts[0] == counts[1]
