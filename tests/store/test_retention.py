"""What is deleted because it is old or too much, and what is kept; on both databases, beside work that goes on."""

from __future__ import annotations

import datetime as dt
import threading
import time
import tracemalloc
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from app.services import machines, retention, settings
from app.services.context import Actor, Context
from app.services.errors import Forbidden, Invalid
from app.store.models import (
    ApiToken,
    Apply,
    BootToken,
    ChangeEvent,
    Counter,
    EnrolmentCode,
    Event,
    Job,
    JobBatch,
    Offer,
    Operation,
    Plan,
    PowerOperation,
    Rack,
    RecordChange,
    ScriptResult,
)
from tests.factories.control import Seeded, clock_of, make_machine, ring_of, seed

ADMIN = Actor("root", "admin")


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


def keep(context: Context, **rules: int) -> None:
    settings.change(context, "retention", rules)


def count(context: Context, table: Any) -> int:
    with context.store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def ids(context: Context, table: Any) -> list[int]:
    with context.store.read() as session:
        return list(session.scalars(select(table.id).order_by(table.id)))


def add(context: Context, table: Any, rows: list[dict[str, Any]]) -> None:
    with context.store.write() as session:
        session.execute(insert(table), rows)


def words(context: Context, machine_id: int, many: int, **more: Any) -> list[dict[str, Any]]:
    row = {"machine_id": machine_id, "level": "info", "kind": "machine.step", "message": "m", "detail": {}}
    return [row | {"at": context.clock()} | more for _ in range(many)]


def test_nothing_goes_from_a_young_installation(context: Context, seeded: Seeded) -> None:
    """The defaults delete nothing of what is there."""
    machine_id = make_machine(context, seeded)
    add(context, Event, words(context, machine_id, 10))

    assert {} == retention.prune(context)
    assert 10 == count(context, Event)


def test_old_events_and_audit_go(context: Context, seeded: Seeded) -> None:
    """By age, in batches smaller than what there is."""
    keep(context, event_days=30, audit_days=60)
    machine_id = make_machine(context, seeded)
    rows = [{"actor": "a", "verb": "v", "thing": "t", "detail": {}, "at": context.clock()} for _ in range(25)]
    for _ in range(3):
        add(context, Event, words(context, machine_id, 25))
        add(context, ChangeEvent, rows := [row | {"at": context.clock()} for row in rows])
        clock_of(context).move(25 * 86400)
    gone = retention.prune(context, batch=10)

    assert 50 == gone["event"]
    assert 25 == count(context, Event)
    assert 26 == gone["change_event"]  # The change of the setting was 75 days ago too.
    assert 50 == count(context, ChangeEvent)


def test_a_talkative_machine_keeps_its_newest_events(context: Context, seeded: Seeded) -> None:
    """So many of each machine and each rack; others lose nothing."""
    keep(context, events_each=7)
    loud, quiet = make_machine(context, seeded), make_machine(context, seeded)
    add(context, Event, words(context, loud, 40) + words(context, quiet, 5))
    add(context, Event, [row | {"machine_id": None, "rack_id": seeded.rack_id} for row in words(context, loud, 12)])
    newest = ids(context, Event)
    retention.prune(context, batch=6)

    assert newest[33:45] + newest[50:] == ids(context, Event)


def test_results_and_operations(context: Context, seeded: Seeded) -> None:
    """The newest results of each script stay, and the operations that they belong to; running ones always."""
    keep(context, results_each=2, operations_each=3)
    machine_id = make_machine(context, seeded)
    now = context.clock()
    with context.store.write() as session:
        for number in range(12):
            status = "running" if number == 0 else "succeeded"
            operation = Operation(machine_id=machine_id, action="release", status=status, step="done", started_at=now)
            session.add(operation)
            session.flush()
            for script in ("cpu", "disks") if number < 5 else ():
                common = {"machine_id": machine_id, "status": "passed", "seconds": 1, "at": now}
                session.add(ScriptResult(operation_id=operation.id, script=script, **common))
    before = ids(context, Operation)
    retention.prune(context, batch=2)
    with context.store.read() as session:
        kept = session.execute(select(ScriptResult.operation_id, ScriptResult.script)).all()

    assert {(before[number], script) for number in (3, 4) for script in ("cpu", "disks")} == {
        tuple(row) for row in kept
    }
    assert [before[0], before[3], before[4], *before[9:]] == ids(context, Operation)


def test_what_racks_need_stays(context: Context, seeded: Seeded) -> None:
    """Newest and running offers, held plans, the newest good apply of each service, the newest power order."""
    keep(context, applies_each=2, plans_each=2, offers_each=2, power_days=1)
    now, rack_id = context.clock(), seeded.rack_id
    machine_id = make_machine(context, seeded)
    with context.store.write() as session:
        session.get_one(Rack, rack_id).applied_offer = 3
        for number in range(1, 9):
            status = {2: "held", 3: "approved"}.get(number, "offered")
            session.add(Plan(rack_id=rack_id, generation=1, status=status, created_at=now))
            common = {"generation": 1, "content": "{}", "signature": "", "digests": {}, "created_at": now}
            session.add(Offer(rack_id=rack_id, number=number, **common))
            outcome = "kept" if number in (1, 4) else "undone"
            session.add(
                Apply(rack_id=rack_id, offer_number=number, service="bind", outcome=outcome, stage="keep", at=now)
            )
            session.flush()
            power = {"machine_id": machine_id, "rack_id": rack_id, "verb": "on", "created_at": now, "deadline_at": now}
            session.add(PowerOperation(**power, status="done", finished_at=now))
            session.flush()
    clock_of(context).move(3 * 86400)
    retention.prune(context, batch=3)
    with context.store.read() as session:
        plans = list(session.scalars(select(Plan.status).order_by(Plan.id)))
        offers = list(session.scalars(select(Offer.number).order_by(Offer.number)))
        applies = list(session.scalars(select(Apply.offer_number).order_by(Apply.id)))

    assert ["held", "approved", "offered", "offered"] == plans
    assert [3, 7, 8] == offers
    assert [4, 7, 8] == applies
    assert 1 == count(context, PowerOperation)


def test_old_jobs_go_with_their_items(context: Context, seeded: Seeded) -> None:
    """Those that ended long ago, in batches; one that runs stays however old it is, and so does one that ended lately."""
    keep(context, job_days=10)
    begin, common = context.clock(), {"kind": "machines.create", "total": 6, "actor": "a", "role": "operator"}
    ends = {"succeeded": begin, "running": None, "cancelled": begin + dt.timedelta(days=15)}
    with context.store.write() as session:
        for status, finished_at in ends.items():
            job = Job(**common, status=status, created_at=begin, finished_at=finished_at)
            session.add(job)
            session.flush()
            session.add_all(JobBatch(job_id=job.id, number=n, first=n, items=[{}], count=1) for n in range(6))
    clock_of(context).move(20 * 86400)
    gone = retention.prune(context, batch=4)

    assert {"job": 1, "job_batch": 6} == gone
    assert [2, 3] == ids(context, Job)
    assert 12 == count(context, JobBatch)


def test_dead_tokens_go(context: Context, seeded: Seeded) -> None:
    """Expired and revoked ones after a while; those that still count stay."""
    keep(context, token_days=10)
    now = context.clock()
    later, long = now + dt.timedelta(days=5), now + dt.timedelta(days=500)
    with context.store.write() as session:
        for number, (expires, revoked) in enumerate(((later, None), (long, later), (long, None))):
            boot = {"token_hash": f"b{number}", "purpose": "install", "issued_at": now}
            session.add(BootToken(**boot, expires_at=expires, revoked_at=revoked))
            session.add(EnrolmentCode(code_hash=f"c{number}", expires_at=expires, created_at=now))
            common = {"user_id": seeded.user_id, "name": "n", "prefix": "p", "created_at": now}
            session.add(ApiToken(**common, token_hash=f"t{number}", expires_at=None if number == 2 else expires))
    clock_of(context).move(20 * 86400)

    assert {"boot_token": 2, "enrolment_code": 1, "api_token": 1} == retention.prune(context)


def test_the_newest_word_on_a_record_stays(context: Context, seeded: Seeded) -> None:
    """Replaced words go after a day, also when their number is large; the last one stays, but not that of a deletion."""
    common = {"scope": "zone:lab.muster", "at": context.clock(), "bucket": 1}
    rows = [
        common | {"sequence": n, "key": f"k{n % 3}", "value": None if n > 299 else {"n": n}, "weight": int(n <= 299)}
        for n in range(1, 301)
    ]
    add(context, RecordChange, rows)
    with context.store.write() as session:
        session.execute(update(Counter).where(Counter.name == "records").values(value=300))
    young = retention.prune(context)
    clock_of(context).move(2 * 86400)
    gone = retention.prune(context, batch=50)
    with context.store.read() as session:
        left = list(session.scalars(select(RecordChange.sequence).order_by(RecordChange.sequence)))

    assert {} == young
    assert {"record_change": 298} == gone
    assert [298, 299] == left


def test_many_rows_cost_no_memory_and_hold_nobody_up(context: Context, seeded: Seeded) -> None:
    """While tens of thousands of rows go, memory stays flat and a change waits for one batch at most."""
    keep(context, events_each=100)
    machine_id = make_machine(context, seeded)
    for _ in range(6):
        add(context, Event, words(context, machine_id, 5000))
    for thread in threading.enumerate():
        # A server of an earlier test may still answer a long poll here, and takes 10 MB for it.
        if "process_request_thread" in thread.name:
            thread.join(60)
    slowest, stop = [0.0], threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            begin = time.monotonic()
            machines.update(context, machine_id, hostname=f"m-{number}")
            slowest.append(time.monotonic() - begin)
            time.sleep(0.05)

    worker = threading.Thread(target=change)
    worker.start()
    tracemalloc.start()
    try:
        gone = retention.prune(context)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        stop.set()
        worker.join()

    assert gone["event"] >= 29_000
    assert len(slowest) > 2
    assert peak < 8 * 1024 * 1024, peak
    assert max(slowest) < 5, max(slowest)


def test_the_setting_is_checked(context: Context, seeded: Seeded) -> None:
    """Unknown names and senseless numbers are refused; racks are not bothered; only administrators prune."""
    for value in ({"event_day": 1}, {"event_days": 0}, {"event_days": True}, {"event_days": "9"}):
        with pytest.raises(Invalid, match="event_day"):
            settings.change(context, "retention", value)
    ring_of(context).take()
    keep(context, event_days=3)

    assert 3 == settings.show(context)["retention"]["event_days"]
    assert 730 == settings.show(context)["retention"]["audit_days"]
    assert [] == ring_of(context).take()
    with pytest.raises(Forbidden):
        retention.prune(context.acting_as(Actor("olga", "operator")))
    retention.prune(context.acting_as(ADMIN))
