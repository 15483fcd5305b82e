"""Whoever follows events gets every one, in order and once, however the transactions that write them overlap."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.services.changes import changing, event
from app.services.context import Context
from app.services.event_tail import Tail
from app.store.models import Event
from tests.factories.control import make_machine, seed

PATIENCE_SECONDS = 60.0


def write(context: Context, message: str) -> int:
    """One event, committed; its id."""
    with context.store.write() as session:
        return add(session, context, message)


def add(session: Session, context: Context, message: str) -> int:
    """One event in an open transaction; its id."""
    row = Event(kind="test", message=message, at=context.clock())
    session.add(row)
    session.flush()
    return row.id


def messages(tail: Tail) -> list[str]:
    """What is safe to hand out now."""
    return [one.message for one in tail.advance()]


overlapping = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
"""Two transactions that write at once exist on PostgreSQL only; SQLite's writers wait for each other."""


def test_events_come_in_order_once(context: Context) -> None:
    """A tail begins at the end and then hands out each event once."""
    write(context, "before")
    tail = Tail(context)
    write(context, "one")
    write(context, "two")

    assert ["one", "two"] == messages(tail)
    assert [] == messages(tail)


@overlapping
def test_a_late_commit_holds_back_what_came_after(context: Context) -> None:
    """An event whose transaction commits after a later one is handed out, and before it."""
    tail = Tail(context)
    late = Session(context.store.engine)
    add(late, context, "drawn first")
    write(context, "committed first")

    assert [] == messages(tail)

    write(context, "another")

    assert [] == messages(tail)

    late.commit()
    late.close()

    assert ["drawn first", "committed first", "another"] == messages(tail)


@overlapping
def test_a_rolled_back_number_is_passed_over(context: Context) -> None:
    """A gap that a rollback leaves holds nothing back, neither while it is new nor later."""
    tail = Tail(context)
    gone = Session(context.store.engine)
    add(gone, context, "never")
    write(context, "one")

    assert [] == messages(tail)

    gone.rollback()

    assert ["one"] == messages(tail)

    with Session(context.store.engine) as session:
        add(session, context, "never either")
        session.rollback()
    write(context, "two")

    assert ["two"] == messages(tail)


@overlapping
def test_a_gap_waits_only_for_those_who_wrote_when_it_was_seen(context: Context) -> None:
    """A rolled back number is passed although there is always somebody who writes."""
    tail = Tail(context)
    gone, other = Session(context.store.engine), Session(context.store.engine)
    add(gone, context, "never")
    write(context, "one")

    assert [] == messages(tail)

    add(other, context, "still open")
    gone.rollback()

    assert ["one"] == messages(tail)

    other.commit()

    assert ["still open"] == messages(tail)
    gone.close()
    other.close()


@overlapping
def test_a_tail_that_begins_during_a_write_gets_what_it_commits(context: Context) -> None:
    """What was drawn before the start and is committed after it is news; what was there is known."""
    write(context, "old")
    late = Session(context.store.engine)
    add(late, context, "late")
    known = write(context, "known")
    tail = Tail(context)
    late.commit()
    late.close()

    assert ["late", "known"] == messages(tail)
    assert frozenset({known}) == tail.known


def test_a_deleted_number_is_not_given_again(context: Context) -> None:
    """Deleting the newest events (with their machine) does not make the next ones look old."""
    machine = make_machine(context, seed(context))
    tail = Tail(context)
    with changing(context) as session:
        event(session, context, "test", "of the machine", machine_id=machine)

    assert ["of the machine"] == messages(tail)

    with changing(context) as session:
        session.execute(delete(Event).where(Event.machine_id == machine))
    with changing(context) as session:
        event(session, context, "test", "after")

    assert ["after"] == messages(tail)


def test_nothing_is_skipped_under_concurrent_commits(context: Context) -> None:
    """Many writers that commit and roll back out of order: the follower ends with exactly what was committed, in order."""
    tail = Tail(context)
    writers, each = 6, 40

    def run(number: int) -> None:
        chance = random.Random(number)
        for turn in range(each):
            with Session(context.store.engine) as session:
                for part in range(chance.randint(1, 3)):
                    add(session, context, f"{number}-{turn}-{part}")
                    if context.store.engine.dialect.name == "postgresql":
                        time.sleep(chance.random() / 100)  # So that transactions overlap; nothing waits for it.
                if chance.random() < 0.2:
                    session.rollback()
                else:
                    session.commit()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    until(lambda: seen.extend(one.id for one in tail.advance(limit=7)) or not any(one.is_alive() for one in threads))
    for thread in threads:
        thread.join()
    with context.store.read() as session:
        committed = list(session.scalars(select(Event.id).order_by(Event.id)))
    until(lambda: seen.extend(one.id for one in tail.advance()) or len(seen) >= len(committed))

    assert committed == seen
    assert len(committed) > writers * each


def until(done: Callable[[], object]) -> None:
    """Repeat until it is true, for as long as patience lasts."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < ends, "it did not come true"
