"""Transactions keep their promises on both databases: one snapshot to read, the lock from the start to write."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app.services.context import Context
from app.store.locks import hold
from app.store.models import Counter, Pool
from app.store.unit_of_work import after_commit


def add_pool(context: Context, name: str) -> None:
    """Commit one row."""
    with context.store.write() as session:
        session.add(Pool(name=name))


def test_a_read_is_one_snapshot(context: Context) -> None:
    """What is committed while a read goes on is not seen by it, and is by the next one."""
    add_pool(context, "first")
    with context.store.read() as session:
        before = list(session.scalars(select(Pool.name)))
        writer = threading.Thread(target=add_pool, args=(context, "second"))
        writer.start()
        writer.join(10)
        during = list(session.scalars(select(Pool.name)))
    with context.store.read() as session:
        after = sorted(session.scalars(select(Pool.name)))

    assert before == during == ["first"]
    assert after == ["first", "second"]


def test_writers_that_read_first_lose_no_update(context: Context) -> None:
    """Twenty increments by ten threads, each a read and a write under a named lock, add up."""
    with context.store.write() as session:
        session.add(Counter(name="n", value=0))

    def increment() -> None:
        for _ in range(2):
            with context.store.write() as session:
                hold(session, "n")
                row = session.get_one(Counter, "n")
                time.sleep(0.005)
                row.value = row.value + 1

    threads = [threading.Thread(target=increment) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with context.store.read() as session:
        value = session.get_one(Counter, "n").value

    assert value == 20


def test_a_failed_write_leaves_nothing_and_calls_nobody(context: Context) -> None:
    """An exception rolls everything back, and what waited for the commit is not run."""
    called: list[str] = []

    def fail() -> None:
        with context.store.write() as session:
            session.add(Pool(name="gone"))
            after_commit(session, lambda: called.append("rolled back"))
            session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    with context.store.write() as session:
        session.add(Pool(name="kept"))
        after_commit(session, lambda: called.append("committed"))
    with context.store.read() as session:
        names = list(session.scalars(select(Pool.name)))

    assert names == ["kept"]
    assert called == ["committed"]


def test_references_are_checked(context: Context) -> None:
    """A row that points at nothing is refused by both databases."""
    from app.store.models import Vlan

    with pytest.raises(DBAPIError), context.store.write() as session:
        session.add(Vlan(fabric_id=12345))
