"""The control plane's clock jumps, or nobody looks for an hour: no operation fails of that, and each timeline says it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import select

from app.services import lifecycle, power
from app.services.context import Context
from app.store.models import Event, Operation, PowerOperation
from tests.factories.control import clock_of, make_machine, seed
from tests.factories.edge import Lab, make_edge
from workers.region.lifecycle import runner

HOUR = 3600.0


@pytest.fixture
def lab(context: Context, tmp_path: Path) -> Lab:
    return Lab(context, seed(context, image_folder=tmp_path), make_edge(context))


def started(lab: Lab) -> int:
    """A machine that waits for its boot, in front of a worker that sweeps."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    lab.pass_time(60)
    return machine_id


def operation(lab: Lab, machine_id: int) -> Operation:
    with lab.context.store.read() as session:
        return session.scalars(select(Operation).where(Operation.machine_id == machine_id)).one()


def said(lab: Lab, machine_id: int) -> list[str]:
    with lab.context.store.read() as session:
        rows = select(Event.message).where(Event.machine_id == machine_id, Event.message.contains("clock"))
        return list(session.scalars(rows))


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
def test_a_jump_moves_deadlines_as_far(lab: Lab, jump: float) -> None:
    """Nothing fails, the rest of the time is what it was, and a machine that stays silent fails when that is over."""
    machine_id = started(lab)
    before = operation(lab, machine_id).deadline_at
    clock_of(lab.context).move(jump)
    runner.sweep(lab.context)
    runner.sweep(lab.context)
    moved = operation(lab, machine_id)
    lab.pass_time(830)
    state = lab.row(machine_id).state
    lab.pass_time(40)

    assert before is not None
    assert moved.deadline_at is not None
    assert dt.timedelta(seconds=jump) == moved.deadline_at - before
    assert ("running", "COMMISSIONING", "FAILED_COMMISSIONING") == (moved.status, state, lab.row(machine_id).state)
    (sentence,) = said(lab, machine_id)
    words = "3600 seconds ahead, or its region worker was away" if jump > 0 else "went back 3600 seconds"
    assert words in sentence
    assert "the deadline of step boot is moved as far" in sentence


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
def test_what_begins_before_the_jump_is_seen_keeps_its_time(lab: Lab, jump: float) -> None:
    """Its deadline, and that of its power order, were set by the new clock: they mean what they say already."""
    runner.sweep(lab.context)
    clock_of(lab.context).move(jump)
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    runner.advance(lab.context, machine_id)
    before = operation(lab, machine_id).deadline_at
    clock_of(lab.context).move(1)
    runner.sweep(lab.context)
    moved = operation(lab, machine_id)

    assert before is not None
    assert moved.deadline_at is not None
    assert dt.timedelta(0) <= moved.deadline_at - before <= dt.timedelta(seconds=1)
    assert ("running", "power-on") == (moved.status, moved.step)
    assert [] == said(lab, machine_id)
    with lab.context.store.read() as session:
        left = session.scalars(select(PowerOperation.deadline_at).where(PowerOperation.operation_id == moved.id)).one()
    assert power.LONGEST_SECONDS - 2 <= (left - lab.context.clock()).total_seconds() <= power.LONGEST_SECONDS


def test_a_retry_is_not_an_hour_late(lab: Lab) -> None:
    """After the clock went back, what was to be tried again in ten seconds is tried in ten seconds."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    runner.sweep(lab.context)
    lab.carry_out_power(ok=False)
    runner.advance(lab.context, machine_id)
    clock_of(lab.context).move(-HOUR)
    runner.sweep(lab.context)
    lab.pass_time(12)

    with lab.context.store.read() as session:
        orders = session.scalars(select(PowerOperation.status).where(PowerOperation.verb == "netboot")).all()
    assert ["failed", "waiting"] == list(orders)


def test_an_order_that_a_rack_carries_out_is_not_lost_by_a_jump(lab: Lab) -> None:
    """Its deadline moves too, so that the rack's answer counts."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    runner.sweep(lab.context)
    lab.carry_out_power()
    lifecycle.request(lab.context, machine_id, "commission")
    runner.sweep(lab.context)
    (order,) = power.waiting(lab.context, lab.seeded.rack_id)
    power.claim(lab.context, lab.seeded.rack_id, order["id"])
    clock_of(lab.context).move(HOUR)
    runner.sweep(lab.context)
    power.finish(lab.context, lab.seeded.rack_id, order["id"], True, "unknown", None, 0.1)
    runner.advance(lab.context, machine_id)

    with lab.context.store.read() as session:
        rows = session.execute(
            select(PowerOperation.verb, PowerOperation.status).where(PowerOperation.operation_id.is_not(None))
        )
        assert [("netboot", "done")] == [tuple(row) for row in rows]


def test_workers_whose_clocks_differ_say_it_once_a_step(lab: Lab) -> None:
    """Their sweeps move deadlines to and fro, which comes to nothing, and the timeline is not filled with it."""
    machine_id = started(lab)
    before = operation(lab, machine_id).deadline_at
    for _ in range(10):
        for jump in (HOUR, -HOUR):
            clock_of(lab.context).move(jump)
            runner.sweep(lab.context)

    assert (before, "running") == (operation(lab, machine_id).deadline_at, operation(lab, machine_id).status)
    assert 1 == len(said(lab, machine_id))
