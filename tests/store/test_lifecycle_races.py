"""What happens when two do the same at once, on both databases: exactly one of them does it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from app.services import boot_tokens, enlistment, lifecycle, power
from app.services.allocation import Constraints, allocate
from app.services.boot_tokens import MachineCaller
from app.services.context import Actor, Context
from app.services.enlistment import Enlistment, FoundInterface
from app.services.errors import Conflict
from app.store.models import Event, Interface, Machine, Operation, PowerOperation, Rack
from tests.factories.control import Seeded, make_machine, seed
from workers.region.lifecycle import runner

MAC = "52:54:00:aa:bb:01"
UUID = "11111111-2222-3333-4444-555555555555"


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run all at the same moment; what each returned or raised."""
    start = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        start.wait()
        try:
            answers[number] = calls[number]()
        except Exception as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def count(context: Context, model: Any) -> int:
    with context.store.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def enlisting(context: Context, seeded: Seeded, macs: tuple[str, ...]) -> tuple[MachineCaller, Enlistment]:
    """A caller with an enlisting token, and what it will say."""
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        raw = boot_tokens.issue(
            session, context, boot_tokens.ENLIST, rack=rack, address="10.20.0.100", mac=macs[0], seconds=600
        )
    caller = boot_tokens.check(context, rack, "10.20.0.100", raw, [boot_tokens.ENLIST])
    interfaces = tuple(FoundInterface(f"eth{n}", mac, n == 0) for n, mac in enumerate(macs))
    return caller, Enlistment(None, "amd64", "bios", UUID, interfaces, None, "none")


def test_who_is_deleted_meanwhile_gets_nothing(context: Context) -> None:
    """A person is deleted between the sign-in and the commit: told so, and the machine is still free."""
    seeded = seed(context)
    machine = make_machine(context, seeded)
    gone = context.acting_as(Actor("bob", "operator", user_id=4711))
    for attempt in (
        lambda: allocate(gone, Constraints()),
        lambda: lifecycle.request(gone, machine, "mark-broken", {"comment": "smells"}),
    ):
        with pytest.raises(Conflict, match="deleted"):
            attempt()
    assert allocate(context, Constraints()).machine.id == machine


def test_two_allocations_never_get_the_same_machine(context: Context) -> None:
    """Six ask for four machines at once: four different ones are given, two are refused."""
    seeded = seed(context)
    machines = {make_machine(context, seeded) for _ in range(4)}
    answers = at_once([lambda: allocate(context, Constraints()).machine.id] * 6)

    given = [answer for answer in answers if isinstance(answer, int)]
    assert sorted(given) == sorted(machines)
    assert [type(answer) for answer in answers if not isinstance(answer, int)] == [Conflict, Conflict]


def test_one_machine_that_enlists_twice_at_once_is_one_machine(context: Context) -> None:
    """Two boots over two interfaces with one UUID race: one machine with both interfaces, created once."""
    seeded = seed(context)
    first, second = enlisting(context, seeded, (MAC,)), enlisting(context, seeded, ("52:54:00:aa:bb:02",))
    answers = at_once([lambda: enlistment.enlist(context, *first), lambda: enlistment.enlist(context, *second)])

    assert sorted(created for _, created in answers) == [False, True]
    assert len({machine_id for machine_id, _ in answers}) == 1
    assert (count(context, Machine), count(context, Interface)) == (1, 2)


def test_two_requests_at_once_start_one_operation(context: Context) -> None:
    """The second is told that the machine is under way already."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded, state="NEW")
    answers = at_once([lambda: lifecycle.request(context, machine_id, "commission").status] * 4)

    assert answers.count("running") == 1
    assert [type(answer) for answer in answers if answer != "running"] == [Conflict] * 3
    assert count(context, Operation) == 1


def test_two_runners_never_run_a_step_twice(context: Context) -> None:
    """Four workers look at one machine at once, again and again: each step is taken once, each order given once."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded, state="NEW")
    lifecycle.request(context, machine_id, "commission")
    for _ in range(3):
        answers = at_once([lambda: runner.advance(context, machine_id)] * 4)
        assert not [answer for answer in answers if isinstance(answer, Exception)]

    with context.store.read() as session:
        verbs = session.scalars(select(PowerOperation.verb)).all()
        armed = session.scalars(select(Event.message).where(Event.message.contains("network boot is for"))).all()
    assert list(verbs) == ["netboot"]
    assert len(armed) == 1


def test_a_power_order_is_claimed_once(context: Context) -> None:
    """Of two processes of one rack that reach for the same order, one gets it."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded)
    order = power.request(context, machine_id, "on")
    answers = at_once([lambda: power.claim(context, seeded.rack_id, order.id)["verb"]] * 3)

    assert answers.count("on") == 1
    assert [type(answer) for answer in answers if answer != "on"] == [Conflict, Conflict]


def test_an_abort_and_a_runner_at_once_agree(context: Context) -> None:
    """Whoever is first, the machine ends where an abort leads and nothing runs."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded, state="NEW")
    lifecycle.request(context, machine_id, "commission")
    answers = at_once(
        [lambda: lifecycle.abort(context, machine_id).status, *[lambda: runner.advance(context, machine_id)] * 3]
    )

    assert answers[0] == "aborted"
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    with context.store.read() as session:
        assert session.get_one(Machine, machine_id).state == "NEW"
        assert session.scalars(select(Operation.id).where(Operation.status == "running")).all() == []
        waiting = select(PowerOperation.verb).where(PowerOperation.status == "waiting")
        assert list(session.scalars(waiting)) == ["off"]
