"""The bell: wakes workers by task name through Celery's broker, and never raises or waits.

A ring is noted and sent by a thread of its own, so that neither a request nor a worker's look pays for the broker, not
even for one that is away; a ring that still waits to be sent is not noted twice.  A lost ring costs only time, because
workers and racks look for themselves on a timer.  After a failure the bell is silent for a few seconds.
"""

from __future__ import annotations

import atexit
import os
import time
from pathlib import Path
from threading import Condition, Thread
from urllib.parse import unquote, urlsplit
from weakref import WeakMethod

import structlog
from celery import Celery
from celery.utils import uuid
from kombu.messaging import Producer

from app import metrics
from app.broker import Login, explain, is_redis, queue_of

# By name: the control plane imports nothing of the workers.
FILE_TRANSPORT = "workers.filesystem_transport:Transport"
SILENT_SECONDS = 5.0
MOST_WAITING = 10_000
IDLE_SECONDS = 30.0
LAST_SECONDS = 3.0
log = structlog.get_logger(__name__)
Wake = tuple[str, str, int | str | None]


class CeleryRing:
    """The ring of `app.services.context` over a Celery broker. `file:///directory` needs no server."""

    _producer: Producer | None

    def __init__(self, broker: str | Login) -> None:
        self._broker = Login(broker) if isinstance(broker, str) else broker
        self._celery = _sender(self._broker)
        self._silent_until = 0.0
        self._forget()
        forget = WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (still := forget()) and still())
        atexit.register(self.flush)

    def advance(self, machine_id: int) -> None:
        """Have the region worker look at a machine's operation."""
        self._note(("muster.region.advance", "region", machine_id))

    def reconcile(self, rack_id: int) -> None:
        """Have the region worker compare a rack with what it should be."""
        self._note(("muster.region.reconcile", "region", rack_id))

    def job(self, job_id: int) -> None:
        """Have the region worker begin or end a bulk job."""
        self._note(("muster.region.job", "region", job_id))

    def rack(self, rack_name: str) -> None:
        """Have a rack fetch what is new."""
        self._note(("muster.rack.wake", queue_of(rack_name), rack_name))

    def broker_users(self) -> None:
        """Have the region worker put racks' users into the broker, where it has users."""
        if is_redis(self._broker.url):
            self._note(("muster.region.broker_users", "region", None))

    def flush(self, seconds: float = LAST_SECONDS) -> bool:
        """Wait until all that was noted is sent, at most so long; whether it was. The process does so when it ends."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None or not (self._waiting or self._busy), seconds)

    def _publish(self, task: str, queue: str, argument: int | str | None) -> None:
        """Put a task straight into its queue, as `send_task` does by an exchange, at half of its cost.

        One producer is kept; a queue is its consumer's to declare.
        """
        amqp = self._celery.amqp
        message = amqp.create_task_message(
            uuid(), task, args=[] if argument is None else [argument], kwargs={}, ignore_result=True
        )
        if self._producer is None:
            self._producer = self._celery.connection_for_write().Producer(auto_declare=False, serializer="json")
        self._producer.publish(
            message.body, exchange="", routing_key=queue, headers=message.headers, **message.properties
        )

    def _forget(self) -> None:
        """Begin anew: nothing waits, nobody sends. A process that was forked has none of its parent's threads."""
        self._changed = Condition()
        self._waiting: dict[Wake, None] = {}
        self._busy = False
        self._thread: Thread | None = None
        self._producer = None

    def _note(self, wake: Wake) -> None:
        with self._changed:
            if len(self._waiting) >= MOST_WAITING or time.monotonic() < self._silent_until:
                metrics.RINGS.labels("silent").inc()
                return
            self._waiting[wake] = None
            if self._thread is None:
                self._thread = Thread(target=self._send_all, name="bell", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _send_all(self) -> None:
        """Send what is noted, in order, until nothing came for a while."""
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: bool(self._waiting), IDLE_SECONDS):
                    self._thread = None
                    self._changed.notify_all()
                    return
                wake = next(iter(self._waiting))
                del self._waiting[wake]
                self._busy = True
            self._send(*wake)

    def _send(self, task: str, queue: str, argument: int | str | None) -> None:
        try:
            self._publish(task, queue, argument)
            metrics.RINGS.labels("sent").inc()
        except Exception as error:  # Whatever the broker's client raises: the change is committed, timers will see it.
            self._producer = None
            metrics.RINGS.labels("lost").inc()
            log.warning("ring.lost", task=task, queue=queue, reason=explain(error, self._broker))
            with self._changed:
                self._silent_until = time.monotonic() + SILENT_SECONDS
                self._waiting.clear()


def _sender(broker: Login) -> Celery:
    broker_url = broker.url
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
    if is_redis(broker_url):
        celery.conf.update(broker.settings(socket_connect_timeout=2, socket_timeout=2))
    elif broker_url.startswith("file:"):
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
