"""The whole installation at a glance: what is wrong, what is busy, what is free. A constant number of queries."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import selectinload

from app.lifecycle.states import State
from app.services import foreign_dhcp, rollout_list, zone_reports
from app.services.context import Context
from app.services.rack_overview import ALIVE_SECONDS
from app.services.rollout_list import RolloutLine
from app.store.models import (
    Job,
    Machine,
    Observation,
    Operation,
    Plan,
    Pool,
    Rack,
    RecordFailure,
    Zone,
)

SHOWN = 12
FAILURES = tuple(state.value for state in State if state.is_failure)


@dataclass(frozen=True)
class Free:
    """How many machines a pool has in a zone, and how many of them are Ready."""

    pool: str
    zone: str
    ready: int
    machines: int


@dataclass(frozen=True)
class RackTrouble:
    """A rack that is not as it should be, with sentences that say why."""

    id: int
    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """What the first page shows. failed_count, running_count and troubles_count count all, the lists hold the first.

    jobs: bulk work.  rollouts: the one that is running or halted, if any.
    """

    states: dict[str, int]
    failed: list[Machine]
    failed_count: int
    running: list[Operation]
    running_count: int
    jobs: list[Job]
    rollouts: list[RolloutLine]
    free: list[Free]
    racks: int
    troubles: list[RackTrouble]
    troubles_count: int


def look(context: Context) -> Overview:
    """Everything about the present moment, from one snapshot."""
    context.require("viewer", "see the overview")
    with context.store.read() as session:
        counted = session.execute(select(Machine.state, func.count()).group_by(Machine.state)).all()
        states = {str(state): int(count) for state, count in counted}
        worst = select(Machine).where(Machine.state.in_(FAILURES)).order_by(Machine.state_since.desc(), Machine.id)
        failed = list(session.scalars(worst.limit(SHOWN)))
        under_way = select(Operation).where(Operation.status == "running").options(selectinload(Operation.machine))
        running = list(session.scalars(under_way.order_by(Operation.started_at, Operation.id).limit(SHOWN)))
        all_running = session.scalar(select(func.count()).select_from(Operation).where(Operation.status == "running"))
        bulk = select(Job).where(Job.status.in_(("queued", "running"))).order_by(Job.id).limit(SHOWN)
        jobs = list(session.scalars(bulk))
        rollouts = rollout_list.under_way(session)
        free = _free(
            [
                (str(pool), str(zone), str(state), int(count))
                for pool, zone, state, count in session.execute(
                    select(Pool.name, Zone.name, Machine.state, func.count())
                    .join(Pool, Pool.id == Machine.pool_id)
                    .join(Zone, Zone.id == Machine.zone_id)
                    .group_by(Pool.name, Zone.name, Machine.state)
                    .order_by(Pool.name, Zone.name)
                )
            ]
        )
        racks = list(session.scalars(select(Rack).order_by(Rack.name)))
        held = session.scalars(select(Plan.rack_id).where(Plan.status == "held")).all()
        ill = session.scalars(
            select(Observation).where(or_(~Observation.running, Observation.probes_ok.is_(False)))
        ).all()
        lost = session.execute(select(RecordFailure.rack_id, func.count()).group_by(RecordFailure.rack_id)).all()
        strangers = foreign_dhcp.present(context, session)
        behind = zone_reports.behind(session, context.clock())
    now = context.clock()
    reasons: dict[int, list[str]] = {rack.id: _silence(rack, now) for rack in racks}
    for rack_id in set(held):
        reasons[rack_id].append("a plan is held and waits for approval")
    for one in ill:
        what = "fails its probe" if one.running else "does not run"
        reasons[one.rack_id].append(f"{one.service} {what}: {one.detail or 'no reason was given'}")
    for rack_id, count in lost:
        reasons[rack_id].append(f"{count} record changes could not be applied")
    for heard in strangers:
        reasons[heard.rack_id].append(
            f"a DHCP server that is not ours answers on {heard.interface}: {foreign_dhcp.said(heard)}"
        )
    for rack_id, zones in behind.items():
        reasons[rack_id] += [f"zone {zone.zone} is behind its primary {zone.primary}" for zone in zones[:SHOWN]]
    troubles = [RackTrouble(rack.id, rack.name, tuple(reasons[rack.id])) for rack in racks if reasons[rack.id]]
    failures = sum(count for state, count in states.items() if state in FAILURES)
    return Overview(
        states,
        failed,
        failures,
        running,
        all_running or 0,
        jobs,
        rollouts,
        free,
        len(racks),
        troubles[:SHOWN],
        len(troubles),
    )


def _silence(rack: Rack, now: dt.datetime) -> list[str]:
    age = (now - rack.seen_at).total_seconds() if rack.seen_at else None
    if age is None:
        return ["it was never heard of"]
    if age > ALIVE_SECONDS:
        return [f"it was last heard of {_span(age)} ago"]
    if rack.applied_offer < rack.offer_number:
        return [f"offer {rack.offer_number} is not applied yet"]
    return []


def _span(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def _free(rows: list[tuple[str, str, str, int]]) -> list[Free]:
    found: dict[tuple[str, str], list[int]] = {}
    for pool, zone, state, count in rows:
        entry = found.setdefault((pool, zone), [0, 0])
        entry[0] += count if state == State.READY else 0
        entry[1] += count
    return [Free(pool, zone, ready, machines) for (pool, zone), (ready, machines) in found.items()]
