"""The region worker's tasks: each takes an id or nothing, looks at the database and makes it so.

All are idempotent: they may run twice, late, or at once in several workers.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from celery import Celery

from app.services import records
from app.services.context import Context
from workers.region import reconcile as reconciling
from workers.region.lifecycle import runner
from workers.region.watch import Watch
from workers.schedule import SECONDS

log = structlog.get_logger(__name__)
QUEUE = "region"


def register(app: Celery, context: Callable[[], Context]) -> Watch:
    """Add the region's tasks to a Celery application; the watch over the periodic ones, to be started by the worker.

    context gives the worker's one context, made when first needed.
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

    def compact_records() -> None:
        """Delete record changes that have long been superseded."""
        count = records.compact(context())
        if count:
            log.info("records.compacted", count=count)

    for rung in (advance, reconcile):
        app.task(name=f"muster.region.{rung.__name__}", ignore_result=True)(rung)
    periodic = {f"muster.region.{task.__name__}": task for task in (sweep, reconcile_all, compact_records)}
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
