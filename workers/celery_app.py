"""Makes the Celery application: the doorbell, not the motor.

Tasks carry a name or a row id and nothing else; no results are kept; a broker that is away is waited for without end,
because everything that is woken here also has a timer.  `file:///directory` is a broker without a server
(`workers.filesystem_transport`), Redis has a transport of ours as well (`workers.redis_transport`); other URLs go to kombu
as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from celery import Celery
from kombu.entity import Queue

from app.broker import Login, is_redis

TRANSPORT = "workers.filesystem_transport:Transport"
POLLING_SECONDS = 0.05


def make_app(broker: str | Login, name: str = "muster", *, queue: str | None = None, **options: Any) -> Celery:
    """A Celery application for that broker; makes the directories of a file broker.  ValueError for a relative one.

    queue: the one that is consumed, which Redis needs to know; options: more of the transport for Redis.
    """
    login = Login(broker) if isinstance(broker, str) else broker
    broker_url = login.url
    app = Celery(name, set_as_current=False)
    app.conf.update(
        broker_url=broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_create_missing_queues=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
    )
    if is_redis(broker_url):
        # Nobody declares it, neither whoever consumes nor whoever sends: that takes rights, and is worth nothing in Redis.
        app.conf.update(login.settings(**options), task_queues=_queues(queue))
        # Of nothing that is acknowledged late, so this only ends a warning at each loss.
        app.conf.worker_cancel_long_running_tasks_on_connection_loss = True
    elif broker_url.startswith("file:"):
        directory = Path(unquote(urlsplit(broker_url).path))
        if not directory.is_absolute() or urlsplit(broker_url).netloc:
            raise ValueError(f"broker {broker_url!r}: name an absolute directory, as in file:///var/lib/muster/broker")
        for part in ("messages", "control"):
            (directory / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        app.conf.update(
            broker_url="filesystem://",
            broker_transport=TRANSPORT,
            broker_transport_options={
                "data_folder_in": str(directory / "messages"),
                "data_folder_out": str(directory / "messages"),
                "control_folder": directory / "control",
                "store_processed": False,
                "polling_interval": POLLING_SECONDS,
            },
        )
    return app


def _queues(name: str | None) -> list[Queue]:
    return [Queue(name, no_declare=True)] if name else []  # type: ignore[no-untyped-call]
