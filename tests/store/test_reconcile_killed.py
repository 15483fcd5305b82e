"""Region workers that are killed while they reconcile, and several at once: one number, one content, on both databases."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from app.services import rack_interfaces, subnets
from app.services.changes import changing
from app.services.context import Context
from app.store.models import Offer, Plan, Rack
from tests.factories.control import Seeded, seed
from tests.store.killed_reconcile import POINTS
from workers.region.reconcile import reconcile


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """A rack that has its first offer, and something to offer since."""
    made = seed(context)
    with changing(context) as session:
        session.get_one(Rack, made.rack_id).control_plane_host = "192.0.2.10"
        rack_interfaces.attach_all(session, context)
    reconcile(context, made.rack_id)
    subnets.update(context, made.subnet_id, lease_seconds=901)
    return made


def worker(context: Context, seeded: Seeded, point: str) -> subprocess.Popen[str]:
    """A region worker's look in a process of its own."""
    url = context.store.engine.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-m", "tests.store.killed_reconcile", url, str(seeded.rack_id), point]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def offered(context: Context) -> dict[int, str]:
    """Contents by number."""
    with context.store.read() as session:
        return {row.number: row.content for row in session.scalars(select(Offer).order_by(Offer.id))}


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_worker_leaves_all_or_nothing(context: Context, seeded: Seeded, point: str) -> None:
    """The next look makes the offer that is missing or finds the one that is there; no plan and no number is left over."""
    killed = worker(context, seeded, point)
    killed.communicate(timeout=120)
    left = offered(context)
    outcome = reconcile(context, seeded.rack_id)
    with context.store.read() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        plans = len(session.scalars(select(Plan.id)).all())

    assert -signal.SIGKILL == killed.returncode
    assert ([1, 2] if point == "ring" else [1]) == list(left)
    assert ("current" if point == "ring" else "offered", 2) == (outcome.status, outcome.offer_number)
    assert [1, 2] == list(offered(context))
    assert (2, rack.generation, 2) == (rack.offer_number, rack.planned_generation, plans)


def test_workers_at_once_give_one_number_to_one_content(context: Context, seeded: Seeded) -> None:
    """Of four processes that look at once, one offers and three find it done."""
    workers = [worker(context, seeded, "never") for _ in range(4)]
    said = sorted(one.communicate(timeout=120)[0].splitlines()[-1] for one in workers)

    assert ["current", "current", "current", "offered"] == said
    assert [1, 2] == list(offered(context))
