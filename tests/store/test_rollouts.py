"""A rollout's rows on both databases: as many statements for many racks as for few, one open at most, looked at by two."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from app.services import rollout_start, rollouts
from app.services.changes import changing, touch_racks
from app.services.context import Context
from app.store.models import Rack, Rollout, RolloutRack
from tests.factories.control import clock_of
from tests.store.test_query_counts import statements
from workers.region.rollouts import advance

FEW, MANY = 4, 300


def add_racks(context: Context, count: int) -> list[int]:
    """So many racks that run their first offer; their ids."""
    with context.store.write() as session:
        racks = [
            Rack(name=f"{count}-{number:04}", token_hash=f"{count}-{number}", offer_number=1, applied_offer=1)
            for number in range(count)
        ]
        for rack in racks:
            rack.enrolled_at = rack.seen_at = context.clock()
        session.add_all(racks)
        session.flush()
        return [rack.id for rack in racks]


def change(context: Context, rack_ids: list[int]) -> int:
    """Change what these racks serve; the rollout."""
    with changing(context) as session:
        touch_racks(session, rack_ids)
    with context.store.read() as session:
        return session.scalars(select(Rollout.id).order_by(Rollout.id.desc()).limit(1)).one()


def kept(context: Context, rollout_id: int) -> list[int]:
    """Every rack whose turn it is has the change; how many racks each wave so far has."""
    with context.store.write() as session:
        wave = session.get_one(Rollout, rollout_id).wave
        rows = session.query(RolloutRack).filter(RolloutRack.rollout_id == rollout_id, RolloutRack.wave == wave)
        for row in rows:
            row.status, row.offer_number, row.services, row.at = "offered", 1, ["bind"], context.clock()
        return [row.rack_id for row in rows]


def test_as_many_statements_for_many_racks(context: Context) -> None:
    """A change, the plan of the waves, and a look at a wave of which all racks have reported."""
    counts = []
    for size in (FEW, MANY):
        rack_ids = add_racks(context, size)
        with statements(context) as seen:
            rollout_id = change(context, rack_ids)
            advance(context, rollout_id)
        sizes = []
        for _ in range(3):
            sizes.append(len(kept(context, rollout_id)))
            with statements(context) as more:
                advance(context, rollout_id)
            clock_of(context).move(31)
            advance(context, rollout_id)
        counts.append((len(seen), len(more)))
        with context.store.write() as session:
            rollout_start.close(session, context, rollout_id, "done")

    assert [1, 30, 30] == sizes
    assert counts[0] == counts[1], counts


def test_at_most_one_is_open_and_two_workers_take_it_on_once(context: Context) -> None:
    """Changes at once leave one rollout open, which owes everything; lookers at once begin one wave."""
    rack_ids = add_racks(context, 6)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: change(context, rack_ids), range(4)))
    with context.store.read() as session:
        (rollout,) = session.scalars(select(Rollout).where(Rollout.status.in_(rollout_start.OPEN))).all()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: advance(context, rollout.id), range(4)))
    seen = rollouts.get(context, rollout.id)

    assert (1, [1]) == (seen.wave, [one.wave for one in seen.racks if one.canary])
    assert len(rack_ids) == len(seen.racks)


def test_a_rack_that_goes_takes_its_row_with_it(context: Context) -> None:
    """Also where it is the one that stopped the rollout."""
    rack_ids = add_racks(context, 3)
    rollout_id = change(context, rack_ids)
    advance(context, rollout_id)
    with context.store.write() as session:
        rollout = session.get_one(Rollout, rollout_id)
        rollout.status, rollout.stopped_rack_id, rollout.reason = "halted", rack_ids[0], "it would not"
    with context.store.write() as session:
        session.delete(session.get_one(Rack, rack_ids[0]))
    clock_of(context).move(dt.timedelta(minutes=1).total_seconds())
    advance(context, rollout_id)
    seen = rollouts.get(context, rollout_id)

    assert (None, 2) == (seen.stopped_rack, len(seen.racks))
    assert "running" == seen.status
