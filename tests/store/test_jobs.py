"""Bulk work: whole records batch by batch, what is refused is named, single changes get in between, and it ends at will."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select

from app.services import addresses, jobs, machines, records, reports, reservations
from app.services.changes import changing
from app.services.context import Actor, Context
from app.services.errors import Conflict, Forbidden
from app.store.models import Event, Interface, IpAddress, Machine, RecordChange, Subnet, User
from tests.factories.control import Seeded, clock_of, make_machine, ring_of, seed
from tests.store.test_query_counts import statements

WIDE = "10.40.0.0/16"


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


@pytest.fixture
def wide(context: Context, seeded: Seeded) -> int:
    """A subnet with room for many."""
    with context.store.write() as session:
        row = Subnet(cidr=WIDE, name="wide", vlan_id=seeded.vlan_id, domain_id=seeded.domain_id)
        session.add(row)
        session.flush()
        return row.id


def wanted(subnet_id: int, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Machines with two interfaces, the first of which gets an address at once."""
    return [
        {
            "hostname": f"bulk-{number}",
            "interfaces": [
                {"mac": f"52:54:01:00:{number >> 8:02x}:{number & 255:02x}", "subnet_id": subnet_id, "mode": "sticky"},
                {"mac": f"52:54:02:00:{number >> 8:02x}:{number & 255:02x}"},
            ],
        }
        for number in range(first, first + count)
    ]


def count(context: Context, table: Any, *where: Any) -> int:
    with context.store.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def test_machines_are_made_whole_with_addresses_and_records(context: Context, wide: int) -> None:
    """The same as one by one: state, interfaces, the lowest free addresses, host, name and pointer, events."""
    job = jobs.start(context, "machines.create", wanted(wide, 300))
    rung = ring_of(context).take()
    jobs.run(context, job.id, patience=0)
    job = jobs.get(context, job.id)
    found = machines.get(context, "bulk-299")
    address = found.interfaces[0].addresses[0].address
    with context.store.read() as session:
        of_it = {
            row.key: row.value
            for row in session.scalars(select(RecordChange).where(RecordChange.key.contains("bulk-299")))
        }
        host = session.scalars(select(RecordChange).where(RecordChange.key == f"host:{wide}:52:54:01:00:01:2b")).one()
        told = list(session.scalars(select(Event).where(Event.kind == "job.progress").order_by(Event.id)))

    assert ("job", job.id) in rung
    assert ("succeeded", 300, 0) == (job.status, job.done, job.failed)
    assert ("NEW", "eth0", True, "10.40.1.44") == (
        found.state,
        found.interfaces[0].name,
        found.interfaces[0].boot,
        address,
    )
    assert ["10.40.1.44"] == of_it["rrset:bulk-299.lab.muster.:A"]["rdatas"]
    assert {"address": "10.40.1.44", "hostname": "bulk-299"}.items() <= host.value.items()
    assert 300 == count(context, IpAddress, IpAddress.kind == "sticky")
    assert ["queued", "succeeded"] == [told[0].detail["status"], told[-1].detail["status"]]


def test_what_is_refused_is_named_and_the_others_go_on(context: Context, seeded: Seeded, wide: int) -> None:
    """A taken MAC, a taken name, an address outside, a reserved MAC, words that no database keeps: each by its place.

    Everything else is made.
    """
    make_machine(context, seeded, "bulk-7")
    items = wanted(wide, 20)
    items[3]["interfaces"][1]["mac"] = items[2]["interfaces"][1]["mac"]
    items[11]["interfaces"][0] |= {"mode": "static", "address": "10.99.0.1"}
    reservations.create(context, "10.40.9.9", items[13]["interfaces"][0]["mac"], hostname="printer")
    items[17]["interfaces"][0]["name"] = "eth\ud800"
    job = jobs.start(context, "machines.create", items)
    jobs.run(context, job.id, patience=0)
    job = jobs.get(context, job.id)
    refused = {error["index"]: error["detail"] for error in job.errors}

    assert ("succeeded", 20, 5) == (job.status, job.done, job.failed)
    assert [3, 7, 11, 13, 17] == sorted(refused)
    assert "10.40.9.9 is reserved for it in subnet 10.40.0.0/16" in refused[13]
    assert "the database cannot keep" in refused[17]
    assert 16 == count(context, Machine, Machine.hostname.startswith("bulk-"))


def test_a_batch_costs_a_constant_number_of_statements(context: Context, wide: int) -> None:
    """Two hundred machines ask as many questions as ten."""
    counts = []
    for first, number in ((0, 10), (10, 200)):
        job = jobs.start(context, "machines.create", wanted(wide, number, first))
        with statements(context) as seen:
            jobs.run(context, job.id, patience=0)
        counts.append(len([one for one in seen if not one.startswith(("BEGIN", "PRAGMA"))]))

    assert counts[0] == counts[1]


def test_an_ended_job_leaves_whole_records_and_goes_on_where_it_was(context: Context, wide: int) -> None:
    """A worker that dies in the middle leaves whole batches; another goes on and does nothing twice; an end is kept."""
    job = jobs.start(context, "machines.create", wanted(wide, 500))

    class Died(BaseException):
        pass

    class Deadly:
        def __init__(self) -> None:
            self.left = 1

        def __call__(self) -> Any:
            return clock_of(context)()

    def die(*ignored: Any) -> bool:
        raise Died

    whole, jobs._racks_have_it = jobs._racks_have_it, die
    try:
        with pytest.raises(Died):
            jobs.run(context, job.id)
    finally:
        jobs._racks_have_it = whole
    between = jobs.get(context, job.id)
    assert (200, 200) == (between.done, count(context, Machine, Machine.hostname.startswith("bulk-")))

    jobs.cancel(context, job.id)
    jobs.sweep(context)
    after = jobs.get(context, job.id)

    assert ("cancelled", 200) == (after.status, after.done)
    assert 400 == count(context, Interface, Interface.name.in_(("eth0", "eth1")))
    with pytest.raises(Conflict):
        jobs.cancel(context, job.id)


def test_reservations_are_imported_and_only_by_who_may(context: Context, seeded: Seeded, wide: int) -> None:
    """Hundreds in batches; a viewer may not, nor who has become one since."""
    items = [
        {"address": f"10.40.{number >> 8}.{number & 255}", "mac": f"52:54:03:00:{number >> 8:02x}:{number & 255:02x}"}
        for number in range(10, 610)
    ]
    with pytest.raises(Forbidden):
        jobs.start(context.acting_as(Actor("eve", "viewer")), "reservations.import", items)
    with context.store.write() as session:
        session.add(user := User(name="eve", role="operator", password_hash="-", created_at=context.clock()))
        session.flush()
        user_id = user.id
    hers = jobs.start(context.acting_as(Actor("eve", "operator", user_id)), "reservations.import", items[:1])
    with context.store.write() as session:
        session.get_one(User, user_id).role = "viewer"
    jobs.run(context, hers.id, patience=0)
    assert ("failed", 1) == (lambda row: (row.status, row.failed))(jobs.get(context, hers.id))
    job = jobs.start(context, "reservations.import", items)
    jobs.sweep(context)

    assert ("succeeded", 600, 0) == (lambda row: (row.status, row.done, row.failed))(jobs.get(context, job.id))
    assert 600 == count(context, IpAddress, IpAddress.kind == "reservation")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_ten_thousand_reservations_cost_a_constant_number_of_statements_a_batch(context: Context, wide: int) -> None:
    """Batches of 250, the last as the first: how much is there already does not matter. Every host and name is there."""
    items = [
        {
            "address": f"10.40.{number >> 8}.{number & 255}",
            "mac": f"52:54:04:00:{number >> 8:02x}:{number & 255:02x}",
            "hostname": f"promised-{number}",
            "subnet_id": wide,
        }
        for number in range(1, 10_001)
    ]
    job = jobs.start(context, "reservations.import", items)
    with statements(context) as seen:
        jobs.run(context, job.id, patience=0)
    job = jobs.get(context, job.id)
    writes = [index for index, one in enumerate(seen) if one.startswith("INSERT INTO ip_address")]
    # Telling how far it is goes by the second, not by the batch.
    telling = ("INSERT INTO event", "SELECT job.")
    costs = {len([one for one in seen[first:last] if not one.startswith(telling)]) for first, last in pairwise(writes)}

    assert ("succeeded", 10_000, 0) == (job.status, job.done, job.failed)
    assert 40 == len(writes)
    assert 1 == len(costs), costs
    assert max(costs) < 40
    assert 10_000 == count(context, IpAddress, IpAddress.kind == "reservation")
    assert 10_000 == count(context, RecordChange, RecordChange.key.startswith("host:"))


def test_a_single_change_gets_in_between_and_racks_set_the_pace(context: Context, seeded: Seeded, wide: int) -> None:
    """While a rack is behind, no further batch is written: a single change is never more than one batch behind."""
    machine_id = make_machine(context, seeded, "single")
    reports.records_applied(context, seeded.rack_id, 0, [])
    clock_of(context).move(45)  # A rack that has nothing to tell is there all the same.
    job = jobs.start(context, "machines.create", wanted(wide, 600))
    worker = threading.Thread(target=jobs.run, args=(context, job.id, 30.0))
    worker.start()
    ahead: list[int] = []
    applied = 0
    try:
        changed = False
        deadline = time.monotonic() + 60
        while worker.is_alive() and time.monotonic() < deadline:
            page = records.after(context, seeded.rack_id, applied)
            ahead.append(len(page["records"]))
            if page["records"] and not changed:
                with changing(context) as session:
                    addresses.claim(session, context, session.get_one(Machine, machine_id))
                changed = True
                mine = records.after(context, seeded.rack_id, applied)
                assert mine["last"] - applied <= 4 * 200 + 10
            applied = page["last"]
            reports.records_applied(context, seeded.rack_id, applied, [])
    finally:
        worker.join(60)

    assert changed
    assert 600 == jobs.get(context, job.id).done
    assert max(ahead) <= 4 * 200 + 10
