"""`python -m workers.region`: the region worker with its timer.

Options: `--concurrency N` (threads, default 2) and `--no-beat` for all but one of several workers; a second timer does
no harm, it only looks twice.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

import structlog
from celery import Celery
from celery.signals import beat_embedded_init
from kombu.exceptions import OperationalError

from app import config as configuration
from app import wiring
from app.broker import explain
from app.config import Config
from app.services.context import Context
from app.wiring import log as logging
from workers.celery_app import make_app
from workers.region import tasks
from workers.region.broker_users import BrokerUsers
from workers.region.watch import Watch
from workers.schedule import beat_schedule

PR_SET_PDEATHSIG = 1
log = structlog.get_logger(__name__)


def make_region_app(config: Config, wire: Callable[[Config], Context] = wiring.wire) -> tuple[Celery, Watch]:
    """The region's Celery application with tasks and timer, and the watch over it.

    wire: makes the context, when the first task needs it.
    """
    app = make_app(config.broker, "muster-region", queue=tasks.QUEUE)
    app.conf.update(
        task_default_queue=tasks.QUEUE,
        beat_schedule=beat_schedule(),
        beat_max_loop_interval=1,
        # Without a result backend nobody would read the failures otherwise.
        task_acks_late=False,
    )
    context = once(lambda: wire(config))
    watch = tasks.register(app, context, BrokerUsers.of(config, context))
    return app, watch


def end_with_worker(**words: object) -> None:
    """In the timer's process: be killed when the worker's main thread is gone, however it went (prctl(2)).

    Celery makes the timer a child process, which would outlive a killed worker and ring for ever.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(0)


def once(make: Callable[[], Context]) -> Callable[[], Context]:
    """A function that calls `make` the first time and gives the same context ever after, in any thread."""
    made: list[Context] = []
    lock = threading.Lock()

    def give() -> Context:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return give


def main(arguments: list[str] | None = None, wire: Callable[[Config], Context] = wiring.wire) -> None:
    """Run until told to stop. wire: what makes the context from the configuration."""
    parser = argparse.ArgumentParser(prog="python -m workers.region", description="Muster's region worker.")
    parser.add_argument("--concurrency", type=int, default=2, help="how many tasks run at once (threads)")
    parser.add_argument("--no-beat", action="store_true", help="leave the timer to another worker")
    parser.add_argument("--loglevel", default="WARNING")
    chosen = parser.parse_args(arguments)
    config = configuration.load(os.environ)
    logging.set_up(config.log_format)
    options = ["worker", "--queues", tasks.QUEUE, "--pool", "threads", "--concurrency", str(chosen.concurrency)]
    options += ["--loglevel", chosen.loglevel, "--without-gossip", "--without-mingle", "--without-heartbeat"]
    if not chosen.no_beat:
        # The table holds intervals only, so the timer needs no file to remember anything.
        options += ["--beat", "--scheduler", "celery.beat:Scheduler"]
    app, watch = make_region_app(config, wire)
    beat_embedded_init.connect(end_with_worker, weak=False)
    # The timer first fires after a whole interval; what changed while nobody worked should not wait for it.
    try:
        app.send_task("muster.region.sign", queue=tasks.QUEUE, expires=60, retry=False)
        app.send_task("muster.region.reconcile_all", queue=tasks.QUEUE, expires=60, retry=False)
    except OperationalError as error:
        log.warning("region.start.unrung", reason=explain(error, config.broker))
    if not chosen.no_beat:
        watch.start()
    app.worker_main(options)


if __name__ == "__main__":
    main(sys.argv[1:])
