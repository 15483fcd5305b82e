"""A broker in Redis: kombu's transport, with as little of it as a bell needs.

A queue does not grow while nobody reads it: a rack's holds one wake (a second would say nothing new), any other at most
`MOST_WAITING`, and the oldest are dropped.  What Redis refuses (a user's password or rights, its certificate) is said in
one sentence with the setting behind it, and waited out like a broker that is away: somebody will mend it, and nothing that
Celery does here is worth ending for.
"""

from __future__ import annotations

import inspect
import time
from typing import Any

import structlog
from kombu.transport import redis as kombu_redis
from kombu.utils import json
from redis import exceptions
from redis.connection import AbstractConnection, UnixDomainSocketConnection
from redis.credentials import CredentialProvider

from app.broker import QUEUE_PREFIX, Login, explain
from app.redis_tls import OnlyOurs

log = structlog.get_logger(__name__)

MOST_WAITING = 1000
PAUSE_SECONDS = 2.0
"""Before the connection is tried again that was refused a command, which happens after connecting went well."""
_OF_TCP = ("host", "port", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options")
_NAMES_ITSELF = "driver_info" in inspect.signature(AbstractConnection.__init__).parameters


class Refused(exceptions.ConnectionError):
    """Redis said no; the sentence says what to do. Celery tries again, as with any connection that fails."""


class Channel(kombu_redis.Channel):
    """kombu's channel. Transport options: `login` says whose it is; `credentials` gives user and password anew each time.

    `socket_path` is the path of a Redis on this host that is reached so.
    """

    from_transport_options: tuple[str, ...] = (
        *kombu_redis.Channel.from_transport_options,
        "login",
        "credentials",
        "socket_path",
    )  # type: ignore[assignment]
    login: Login | None = None
    credentials: CredentialProvider | None = None
    socket_path: str | None = None
    connection_class_ssl = OnlyOurs

    def __init__(self, *arguments: Any, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        except (exceptions.RedisError, OSError) as error:
            raise self._refused(error) from error

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.socket_path is not None:
            self.connection_class = UnixDomainSocketConnection  # type: ignore[assignment]
        params = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        if self.socket_path is not None:
            params = {name: value for name, value in params.items() if name not in _OF_TCP} | {"path": self.socket_path}
        if self.credentials is not None:
            params = {name: value for name, value in params.items() if name not in ("username", "password")}
            params["credential_provider"] = self.credentials
        if _NAMES_ITSELF:  # redis-py would tell Redis its version, by a command that a rack's user has no right to.
            params["driver_info"] = None
        return params

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        most = 1 if queue.startswith(QUEUE_PREFIX) else MOST_WAITING
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            text = json.dumps(message)  # type: ignore[no-untyped-call]
            pipe.lpush(queue, text).ltrim(queue, 0, most - 1).execute()

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except exceptions.ResponseError as error:
            refused = self._refused(error)
            log.error("broker.refused", reason=str(refused))  # Celery says of it only that a connection was lost.
            time.sleep(PAUSE_SECONDS)
            raise refused from error

    def _refused(self, error: Exception) -> Refused:
        return Refused(explain(error, self.login) if self.login is not None else str(error))


class Transport(kombu_redis.Transport):
    """Give it to Celery by its class path, with the settings of `app.broker.Login`."""

    Channel = Channel
