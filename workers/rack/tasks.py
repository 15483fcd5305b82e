"""The rack's end of the broker: one task that rings the agent's doorbell, and nothing else.

It carries no data: the agent fetches what is new over HTTP with the rack's own token, and would have found it by its long
poll or its timer anyway.  Where there is no broker it waits for one; a broker that is away, or that refuses the rack, is
tried again for ever, each time with the password that the control plane has for it then.
"""

from __future__ import annotations

import os
import signal

from celery import Celery

from app.broker import is_redis
from workers.celery_app import make_app
from workers.rack.broker import BrokerSource, Credentials, Given
from workers.rack.client import ControlPlane
from workers.rack.config import RackConfig
from workers.rack.secret_files import RACK_TOKEN, SecretFiles
from workers.rack.waiting import ring

WAKE = "muster.rack.wake"
CONNECT_SECONDS = 5


def make_doorbell(config: RackConfig, given: Given, source: BrokerSource) -> Celery:
    """The Celery application that consumes this rack's queue."""
    name = f"muster-{config.queue}"
    if is_redis(given.url):
        credentials = Credentials(source, given, _end)
        options = {"credentials": credentials, "socket_connect_timeout": CONNECT_SECONDS}
        app = make_app(source.login(given), name, queue=config.queue, **options)
    else:
        app = make_app(given.url, name)
    path = config.doorbell_path

    @app.task(name=WAKE, ignore_result=True, shared=False)  # type: ignore[untyped-decorator]
    def wake(*ignored: object) -> bool:
        return ring(path)

    return app


def consume(config: RackConfig) -> None:
    """Consume the queue until the process ends.  No mingle, gossip or remote control: other racks are none of our business."""
    source = BrokerSource(config, ControlPlane(config.control_plane, SecretFiles(config.root).read(RACK_TOKEN)))
    make_doorbell(config, source.wait(), source).worker_main(
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


def _end() -> None:
    """End this process as its supervisor would, which starts it anew with what is true now."""
    os.kill(os.getpid(), signal.SIGTERM)
