"""The bell: wakes workers by task name through Celery's broker, and never raises or waits.

A lost ring costs only time, because workers and racks look for themselves on a timer.  After a failure the bell is
silent for a few seconds, so that a broker that is away does not slow requests down.
"""

from __future__ import annotations

import time
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlsplit

import structlog
from celery import Celery

# By name: the control plane imports nothing of the workers.
FILE_TRANSPORT = "workers.filesystem_transport:Transport"
SILENT_SECONDS = 5.0
log = structlog.get_logger(__name__)


class CeleryRing:
    """The ring of `app.services.context` over a Celery broker. `file:///directory` needs no server."""

    def __init__(self, broker_url: str) -> None:
        self._celery = _sender(broker_url)
        self._silent_until = 0.0
        self._lock = Lock()

    def advance(self, machine_id: int) -> None:
        """Have the region worker look at a machine's operation."""
        self._send("muster.region.advance", "region", machine_id)

    def reconcile(self, rack_id: int) -> None:
        """Have the region worker compare a rack with what it should be."""
        self._send("muster.region.reconcile", "region", rack_id)

    def rack(self, rack_name: str) -> None:
        """Have a rack fetch what is new."""
        self._send("muster.rack.wake", f"rack.{rack_name}", rack_name)

    def _send(self, task: str, queue: str, argument: int | str) -> None:
        with self._lock:
            if time.monotonic() < self._silent_until:
                return
        try:
            self._celery.send_task(task, args=[argument], queue=queue, retry=False, ignore_result=True)
        except Exception as error:  # Whatever the broker's client raises: the change is committed, timers will see it.
            log.warning("ring.lost", task=task, queue=queue, reason=str(error))
            with self._lock:
                self._silent_until = time.monotonic() + SILENT_SECONDS


def _sender(broker_url: str) -> Celery:
    celery = Celery("muster-ring", set_as_current=False)
    celery.conf.update(
        broker_url=broker_url,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        task_create_missing_queues=True,
        broker_connection_timeout=2,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 2},
    )
    if broker_url.startswith("file:"):
        directory = Path(unquote(urlsplit(broker_url).path))
        for part in ("messages", "control"):
            (directory / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        celery.conf.update(
            broker_url="filesystem://",
            broker_transport=FILE_TRANSPORT,
            broker_transport_options={
                "data_folder_in": str(directory / "messages"),
                "data_folder_out": str(directory / "messages"),
                "control_folder": directory / "control",
                "store_processed": False,
            },
        )
    return celery
