"""The region worker as people start it: a process with a broker of files, woken by a ring and by its own timer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import wiring
from app.config import Config, load
from app.services import bootstrap, rack_interfaces, racks
from app.services.changes import changing
from app.services.context import Context
from app.store import migrate
from app.store.models import Rack
from tests.factories.control import seed
from workers.region.__main__ import make_region_app, once
from workers.schedule import SECONDS, beat_schedule


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A control plane in a directory of its own."""
    return load({"MUSTER_STATE_DIR": str(tmp_path / "state"), "MUSTER_CACHE": str(tmp_path / "cache")})


@pytest.fixture
def context(config: Config) -> Iterator[Context]:
    """The migrated control plane as `wire` makes it, with the small rack in it."""
    migrate.upgrade(config.database_url)
    made = wiring.wire(config)
    seeded = seed(made)
    bootstrap.prepare(made, "muster.internal")
    with changing(made) as session:
        session.get_one(Rack, seeded.rack_id).control_plane_host = "192.0.2.10"
        rack_interfaces.attach_all(session, made)
    yield made
    made.store.engine.dispose()


@pytest.fixture
def worker(config: Config, context: Context, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, ended at the end."""
    environment = {
        "PATH": os.environ["PATH"],
        "MUSTER_STATE_DIR": str(config.state_dir),
        "MUSTER_CACHE": str(config.cache_dir),
    }
    with (tmp_path / "worker.log").open("wb") as log:
        command = [sys.executable, "-m", "workers.region", "--concurrency", "2"]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=Path(__file__).parents[2])
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def wait_for(what: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.1)
    return False


def test_a_ring_makes_an_offer_and_a_stop_ends_it(
    worker: subprocess.Popen[bytes], context: Context, tmp_path: Path
) -> None:
    """The ring of a change reaches the worker, which makes the offer; asked to stop, it ends cleanly."""
    (rack,) = racks.find(context)
    context.ring.reconcile(rack.id)
    offered = wait_for(lambda: racks.current_offer(context, rack.id) is not None, 45)
    worker.send_signal(signal.SIGTERM)
    code = worker.wait(20)

    assert offered, (tmp_path / "worker.log").read_text()
    assert code == 0, (tmp_path / "worker.log").read_text()


def test_the_tasks_have_the_names_that_are_rung(config: Config) -> None:
    """Every name that the ring or the timer sends is a task of the worker."""
    app, _ = make_region_app(config)
    named = {name for name in app.tasks if name.startswith("muster.region.")}

    assert named == {"muster.region.advance", "muster.region.job", "muster.region.reconcile", *SECONDS}


def test_messages_of_the_timer_die() -> None:
    """A worker that was away finds no heap: each message expires before the next but one is sent."""
    table = beat_schedule()

    assert {entry["options"]["queue"] for entry in table.values()} == {"region"}
    assert all(entry["schedule"] < entry["options"]["expires"] < 2 * entry["schedule"] for entry in table.values())


def test_the_context_is_made_once(context: Context) -> None:
    """All threads of a worker share one context, made when the first task needs it."""
    made: list[int] = []

    def make() -> Context:
        made.append(1)
        return context

    give = once(make)

    assert made == []
    assert give() is give() is context
    assert made == [1]
