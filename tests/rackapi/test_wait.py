"""Racks wait for news, and hear of them at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from app.rackapi import news
from app.services import addresses, power
from app.services.changes import changing, put_record
from app.services.context import Context
from app.store.models import Machine
from tests.factories.control import (
    Seeded,
    make_machine,
)
from tests.rackapi.conftest import call
from workers.region.reconcile import reconcile


def test_wait_answers_at_once_when_something_is_new(application: Flask, context: Context, seeded: Seeded) -> None:
    """Old numbers are answered at once with the new ones."""
    reconcile(context, seeded.rack_id)
    began = time.monotonic()
    answer = call(application, "GET", "/wait?offer=0&records=0&power=0&seconds=20").json

    assert answer is not None
    assert (answer["offer"], answer["power"], answer["changed"]) == (1, 0, True)
    assert time.monotonic() - began < 5


def test_wait_wakes_up(application: Flask, context: Context, seeded: Seeded) -> None:
    """A change during the wait ends it within a second; without one it ends when its time is over."""
    have = call(application, "GET", "/wait?seconds=0").json
    assert have is not None
    query = f"/wait?offer={have['offer']}&records={have['records']}&power={have['power']}"
    quiet = call(application, "GET", f"{query}&seconds=1").json
    changed: list[float] = []

    def change() -> None:
        machine_id = make_machine(context, seeded)
        time.sleep(0.5)
        power.request(context, machine_id, "on")
        changed.append(time.monotonic())

    thread = threading.Thread(target=change)
    thread.start()
    answer = call(application, "GET", f"{query}&seconds=20").json
    ended = time.monotonic()
    thread.join(10)

    assert quiet is not None
    assert quiet["changed"] is False
    assert answer is not None
    assert answer["changed"] is True
    assert answer["power"] == have["power"] + 1
    assert ended - changed[0] < 1


def test_wait_ends_only_for_what_is_waited_for(application: Flask, context: Context, seeded: Seeded) -> None:
    """Whoever switches machines is not woken for each record of the rack; the numbers are told all the same."""
    have = call(application, "GET", "/wait?seconds=0").json
    assert have is not None
    query = f"/wait?offer={have['offer']}&records={have['records']}&power={have['power']}&seconds=0"
    machine_id = make_machine(context, seeded)
    with changing(context) as session:
        addresses.claim(session, context, session.get_one(Machine, machine_id))
    power_only = call(application, "GET", f"{query}&for=power").json
    every = call(application, "GET", f"{query}&for=offer,records").json
    power.request(context, machine_id, "on")
    switched = call(application, "GET", f"{query}&for=power").json

    assert power_only is not None
    assert power_only["records"] > have["records"]
    assert [False, True, True] == [one["changed"] for one in (power_only, every, switched) if one is not None]


def test_wait_hears_of_a_commit_at_once(
    application: Flask, context: Context, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits in the process that commits a change is woken by it, however seldom it looks by itself."""
    monkeypatch.setattr(news, "POLL_SECONDS", 60)
    have = call(application, "GET", "/wait?seconds=0").json
    assert have is not None
    query = f"/wait?offer={have['offer']}&records={have['records']}&power={have['power']}&seconds=30"
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, application, "GET", query)
        time.sleep(1)
        with changing(context) as session:
            put_record(session, f"vlan:{seeded.vlan_id}", "host:1:52:54:00:00:00:01", None)
        answer = waiting.result().json

    assert answer is not None
    assert (answer["changed"], answer["records"]) == (True, have["records"] + 1)
    assert time.monotonic() - began < 20


def test_too_many_waiters_are_answered_at_once(application: Flask) -> None:
    """The ninth request that waits in one process is not kept."""
    have = call(application, "GET", "/wait?seconds=0").json
    assert have is not None
    query = f"/wait?offer={have['offer']}&records={have['records']}&power={have['power']}&seconds=3"
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(call, application, "GET", query) for _ in range(8)]
        time.sleep(1)
        began = time.monotonic()
        answer = call(application, "GET", query)
        took = time.monotonic() - began
        done = [future.result() for future in waiting]

    assert answer.status_code == 200
    assert took < 1
    assert {one.status_code for one in done} == {200}
