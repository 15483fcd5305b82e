"""What the database knows of the fleet at one moment, for `/metrics`: a constant number of questions, however large it is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import func, select

from app.lifecycle.states import State
from app.services import zone_reports
from app.services.context import Context
from app.services.rack_overview import ALIVE_SECONDS
from app.services.records import last
from app.store.models import Machine, Observation, Operation, Plan, PowerOperation, Rack, RecordFailure, Worker


@dataclass(frozen=True)
class RackNumbers:
    """One rack. in_sync: seen lately, nothing behind, nothing held or failed, every service up, no zone behind."""

    name: str
    seen_at: dt.datetime | None
    generation_lag: int
    offer_lag: int
    records_lag: int
    records_failed: int
    plans_held: int
    services: dict[str, bool]
    in_sync: bool


@dataclass(frozen=True)
class Census:
    """Counts of one snapshot."""

    machines: dict[str, int]
    operations: dict[str, int]
    overdue: int
    power_waiting: int
    workers: int
    worker_seen_at: dt.datetime | None
    racks: tuple[RackNumbers, ...]


def take(context: Context) -> Census:
    """Count everything in one snapshot."""
    context.require("viewer", "see metrics")
    now = context.clock()
    with context.store.read() as session:
        machines = dict.fromkeys((state.value for state in State), 0)
        states = select(Machine.state, func.count()).group_by(Machine.state)
        machines |= dict(session.execute(states).all())
        running = select(Operation.action, func.count()).where(Operation.status == "running")
        operations = dict(session.execute(running.group_by(Operation.action)).all())
        overdue = select(func.count()).where(Operation.status == "running", Operation.deadline_at <= now)
        waiting = select(func.count()).where(PowerOperation.status.in_(("waiting", "claimed")))
        workers = session.execute(select(func.count(), func.max(Worker.seen_at))).one()
        highest = last(session)
        held = select(Plan.rack_id, func.count()).where(Plan.status == "held").group_by(Plan.rack_id)
        failed = select(RecordFailure.rack_id, func.count()).group_by(RecordFailure.rack_id)
        held_of = dict(session.execute(held).all())
        failed_of = dict(session.execute(failed).all())
        behind = zone_reports.behind(session, now)
        services: dict[int, dict[str, bool]] = {}
        words = select(Observation.rack_id, Observation.service, Observation.running, Observation.probes_ok)
        for rack_id, service, is_running, probes_ok in session.execute(words):
            services.setdefault(rack_id, {})[service] = is_running and probes_ok is not False
        columns = (
            Rack.id, Rack.name, Rack.seen_at, Rack.generation, Rack.planned_generation, Rack.offer_number, Rack.applied_offer,
            Rack.applied_records,
        )  # fmt: skip
        racks = [
            RackNumbers(
                name=row.name,
                seen_at=row.seen_at,
                generation_lag=max(0, row.generation - row.planned_generation),
                offer_lag=max(0, row.offer_number - row.applied_offer),
                records_lag=max(0, highest - row.applied_records),
                records_failed=failed_of.get(row.id, 0),
                plans_held=held_of.get(row.id, 0),
                services=services.get(row.id, {}),
                in_sync=row.seen_at is not None
                and (now - row.seen_at).total_seconds() <= ALIVE_SECONDS
                and row.planned_generation >= row.generation
                and row.applied_offer >= row.offer_number
                and row.id not in held_of
                and row.id not in failed_of
                and row.id not in behind
                and all(services.get(row.id, {}).values()),
            )
            for row in session.execute(select(*columns).order_by(Rack.name))
        ]
        return Census(
            machines=machines,
            operations=operations,
            overdue=session.scalar(overdue) or 0,
            power_waiting=session.scalar(waiting) or 0,
            workers=workers[0],
            worker_seen_at=workers[1],
            racks=tuple(racks),
        )
