"""Processes that write all at once, and processes that are killed while they write: the store stays whole."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter as Tally
from collections.abc import Iterator
from functools import partial
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess

import pytest

from app.services import machines
from app.services.context import Context
from app.services.errors import Conflict
from tests.factories.control import Seeded, make_machine, seed
from tests.store.invariants import violations
from tests.store.test_lifecycle_races import at_once
from tests.store.writer import Told, Writer, open_context, write_for_a_while, write_for_ever

WRITERS = 8
SECONDS = 2.5
KILLS = 16
VERBS = {"create", "allocate", "deploy", "look", "abort", "release", "reserve", "give back", "rename", "rack"}


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """New processes that share nothing with this one; what they import is read once."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.store.writer"])
    return made


@pytest.fixture
def seeded(context: Context) -> Seeded:
    made = seed(context)
    for _ in range(6):
        make_machine(context, made, bmc=False)
    return made


@pytest.fixture
def started() -> Iterator[list[BaseProcess]]:
    """Processes; those that still run at the end are killed."""
    made: list[BaseProcess] = []
    yield made
    for process in made:
        process.kill()
        process.join()


def test_many_writers(
    context: Context, seeded: Seeded, url: str, processes: ForkServerContext, started: list[BaseProcess]
) -> None:
    """Eight processes at once: nobody hears of locks or serialization, every verb comes through, nothing is half."""
    pipes = []
    for number in range(WRITERS):
        ours, theirs = processes.Pipe()
        words = (url, seeded.subnet_id, seeded.user_id, number, SECONDS, theirs)
        started.append(processes.Process(target=write_for_a_while, args=words))
        started[-1].start()
        pipes.append(ours)
    assert ["ready"] * WRITERS == [pipe.recv() for pipe in pipes]
    for pipe in pipes:
        pipe.send("go")
    told: list[Told] = [pipe.recv() for pipe in pipes]

    assert [] == [surprise for one in told for surprise in one.surprises]
    assert set() == VERBS - set().union(*(one.done for one in told)), told
    assert [] == violations(context)


def test_the_same_machine_and_the_same_name_at_once(context: Context, seeded: Seeded) -> None:
    """Who is second is told so by a rule, not by the database: MAC addresses, names made of them, names chosen."""
    twins = at_once([lambda: machines.create(context, ["52:54:00:0f:00:01"]).id] * 6)
    namesakes = at_once([partial(machines.create, context, [f"52:54:{n:02x}:0f:00:02"]) for n in range(6)])
    ids = [one.id for one in namesakes]
    renamed = at_once([partial(machines.update, context, one, hostname="same") for one in ids])

    assert 1 == sum(isinstance(one, int) for one in twins)
    assert [Conflict] * 5 == [type(one) for one in twins if not isinstance(one, int)], twins
    assert 6 == len({one.hostname for one in namesakes})
    assert [Conflict] * 5 == [type(one) for one in renamed if isinstance(one, Exception)], renamed


def test_writers_killed_in_the_middle(
    context: Context, seeded: Seeded, url: str, processes: ForkServerContext, started: list[BaseProcess]
) -> None:
    """Kills at random moments among four writers; after each the store is whole, and the others go on."""
    chance = random.Random()

    def start(number: int) -> BaseProcess:
        words = (url, seeded.subnet_id, seeded.user_id, number)
        process = processes.Process(target=write_for_ever, args=words)
        process.start()
        started.append(process)
        return process

    running = [start(number) for number in range(4)]
    broken: list[str] = []
    for number in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.3))
        victim = running.pop(0)
        assert victim.is_alive(), victim.exitcode
        victim.kill()
        victim.join()
        broken += violations(context)
        running.append(start(4 + number))
    for process in running:
        process.kill()
        process.join()
    fresh = open_context(url)
    told = Writer(fresh, seeded.subnet_id, seeded.user_id, 99).go(lambda turns: turns >= 150)
    fresh.store.engine.dispose()

    assert [] == broken
    assert [] == told.surprises
    assert [] == violations(context)
    assert Tally(told.done).total() > 20, told
