"""The region worker's tasks: each takes an id or nothing, looks at the database and makes it so.

All are idempotent: they may run twice, late, or at once in several workers.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from functools import wraps

import structlog
from celery import Celery

from app import metrics
from app.services import digests, health, internal_names, jobs, leases, machines, rack_keys, retention
from app.services.context import Context
from workers.region import reconcile as reconciling
from workers.region import rollouts
from workers.region.broker_users import BrokerUsers
from workers.region.lifecycle import runner
from workers.region.watch import Watch
from workers.schedule import SECONDS

QUEUE = "region"


def register(app: Celery, context: Callable[[], Context], users: BrokerUsers) -> Watch:
    """Add the region's tasks to a Celery application; the watch over the periodic ones, to be started by the worker.

    context gives the worker's one context, made when first needed.  users: racks' users at the broker.
    """

    def advance(machine_id: int) -> None:
        """Look at a machine's running operation."""
        runner.advance(context(), machine_id)

    def sweep() -> None:
        """Look at every operation that is due."""
        runner.sweep(context())

    def reconcile(rack_id: int) -> None:
        """Compare a rack with what it should be."""
        reconciling.reconcile(context(), rack_id)

    def reconcile_all() -> None:
        """Compare every rack with what it should be."""
        reconciling.reconcile_all(context())

    def advance_rollouts() -> None:
        """Take what many racks are to take to the next of them."""
        rollouts.advance_all(context())

    def job(job_id: int) -> None:
        """Carry out a bulk job."""
        jobs.run(context(), job_id)

    def jobs_left() -> None:
        """Carry out bulk jobs that nobody has."""
        jobs.sweep(context())

    def names() -> None:
        """Take racks that have stopped out of the internal domain, and put those that are back into it."""
        internal_names.refresh(context())

    def expire_leases() -> None:
        """Forget leases whose time is over, with their names."""
        leases.expire(context())

    def fold_records() -> None:
        """Keep up with the digests by which racks find what they have lost."""
        digests.catch_up(context())

    def fold_list_revision() -> None:
        """Keep what tells of changes to lists cheap to read."""
        machines.fold_list_revision(context())

    def prune() -> None:
        """Delete what is old or too much."""
        retention.prune(context())

    def renew_keys() -> None:
        """Have racks make new keys for those that are too old."""
        rack_keys.renew_old(context())

    def broker_users() -> None:
        """Keep racks' users at the broker as they should be."""
        users.tend()

    started: list[dt.datetime] = []

    def sign() -> None:
        """Say that this worker lives: it carries out tasks and reaches the database."""
        started.extend([] if started else [context().clock()])
        health.sign(context(), started[0])

    for rung in (advance, reconcile, job):
        app.task(name=f"muster.region.{rung.__name__}", ignore_result=True)(_counted(rung))
    periodic = {
        f"muster.region.{task.__name__}": _counted(task)
        for task in (
            sweep,
            reconcile_all,
            advance_rollouts,
            jobs_left,
            names,
            expire_leases,
            fold_records,
            fold_list_revision,
            prune,
            renew_keys,
            broker_users,
            sign,
        )
    }
    watch = Watch(periodic, SECONDS)
    for name, task in periodic.items():
        app.task(name=name, ignore_result=True)(_noted(watch, name, task))
    return watch


def _noted(watch: Watch, name: str, task: Callable[[], None]) -> Callable[[], None]:
    """The task, which tells the watch that it runs."""

    def run() -> None:
        watch.ran(name)
        task()

    run.__doc__ = task.__doc__
    return run


def _counted(task: Callable[..., None]) -> Callable[..., None]:
    """The task counted, with a log context of its own: threads carry out one task after another."""

    @wraps(task)
    def run(*args: int) -> None:
        structlog.contextvars.clear_contextvars()
        begin, outcome = time.monotonic(), "failed"
        try:
            task(*args)
            outcome = "done"
        finally:
            metrics.TASKS.labels(task.__name__, outcome).inc()
            metrics.TASK_SECONDS.labels(task.__name__).observe(time.monotonic() - begin)

    return run
