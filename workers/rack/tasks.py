"""The rack's end of the broker: one task that rings the agent's doorbell, and nothing else.

Started only where enrolment gave a broker.  It carries no data: the agent fetches what is new over HTTP with the rack's
own token, and would have found it by its long poll or its timer anyway.
"""

from __future__ import annotations

from celery import Celery

from workers.celery_app import make_app
from workers.rack.config import ConfigError, RackConfig
from workers.rack.waiting import ring

WAKE = "muster.rack.wake"


def make_doorbell(config: RackConfig) -> Celery:
    """The Celery application that consumes this rack's queue.  ConfigError without a broker."""
    if not config.broker_url:
        raise ConfigError(f"rack {config.name} was enrolled without a broker: it needs none, the agent polls by itself")
    app = make_app(config.broker_url, f"muster-{config.queue}")
    path = config.doorbell_path

    @app.task(name=WAKE, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake(*ignored: object) -> bool:
        return ring(path)

    return app


def consume(config: RackConfig) -> None:
    """Consume the queue until the process ends.  No mingle, gossip or remote control: other racks are none of our business."""
    make_doorbell(config).worker_main(
        [
            "worker",
            "--pool=solo",
            f"--queues={config.queue}",
            f"--hostname={config.queue}@doorbell",
            "--without-mingle",
            "--without-gossip",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )
