"""Keeps racks' users in Redis as they should be, as its administrator (MUSTER_BROKER_ADMIN_USER).

Beside the users Redis gets a user who may nothing and whose one key is the mark that the users go by.  A look reads the
mark in the database and in Redis: two short questions, however many racks there are.  Only when the two differ, because a
user has changed or Redis was started anew with nothing, everybody is compared; and every `WHOLE_SECONDS`, in case somebody
else has changed a user.  Whoever's password is another one, or who is not a rack any more, loses his connections at once.

All users whose names begin with `rack.` are Muster's; it touches no others.  ACL SETUSER and its rules: redis.io/docs, ACL.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import redis
import structlog

from app.broker import QUEUE_PREFIX, Login, explain, rack_rules
from app.config import Config
from app.services import broker as racks_users
from app.services.context import Context
from app.wiring.redis_client import connect

MARKED = "muster-racks"
WHOLE_SECONDS = 600.0
RULES = hashlib.sha256(" ".join(rack_rules("rack")).encode()).hexdigest()[:8]
"""Part of the mark: another version of Muster may want other rules."""
log = structlog.get_logger(__name__)


class BrokerUsers:
    """Looks after racks' users. admin: gives the login of the administrator, None where the site keeps the users."""

    def __init__(
        self,
        admin: Callable[[], Login | None],
        context: Callable[[], Context],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin, self._context, self._clock = admin, context, clock
        self._lock = Lock()
        self._whole_at = -WHOLE_SECONDS
        self._said: str | None = None
        self._noted: bool | None = None
        self._client: tuple[Login, Any] | None = None

    @classmethod
    def of(cls, config: Config, context: Callable[[], Context]) -> BrokerUsers:
        """Those of this configuration."""
        return cls(lambda: config.broker_admin, context)

    def tend(self) -> bool:
        """Look, and put right what is not; whether Redis answered. Never raises for what Redis does."""
        login = self._admin()
        if login is None:
            self._note(True)
            return True
        if not self._lock.acquire(blocking=False):  # Another thread is at it.
            return False
        try:
            client = self._connected(login)
            wanted = f"{racks_users.mark(self._context())}-{RULES}"
            if self._clock() - self._whole_at < WHOLE_SECONDS and marked(client) == wanted:
                return True
            self._put_right(client)
            self._whole_at, self._said = self._clock(), None
            self._note(True)
        except (redis.RedisError, OSError) as error:
            sentence = explain(error, login)
            if sentence != self._said:
                log.error("broker.users_not_kept", reason=sentence)
            self._said, self._client, self._whole_at = sentence, None, -WHOLE_SECONDS
            self._note(False)
            return False
        finally:
            self._lock.release()
        return True

    def _note(self, kept: bool) -> None:
        if self._noted != kept:
            racks_users.note_kept(self._context(), kept)
            self._noted = kept

    def _connected(self, login: Login) -> Any:
        if self._client is None or self._client[0] != login:
            self._client = (login, connect(login))
        return self._client[1]

    def _put_right(self, client: Any) -> None:
        wanted = racks_users.users(self._context())
        present = {line.split()[1]: line for line in client.acl_list()}
        gone = [user for user in present if user.startswith(QUEUE_PREFIX) and user not in wanted.lines]
        other = [
            line for user, line in wanted.lines.items() if user not in present or words(present[user]) != words(line)
        ]
        if gone:
            client.execute_command("ACL DELUSER", *gone)  # It ends their connections, too.
            client.delete(*gone)
        if other:
            pipe = client.pipeline(transaction=False)
            for line in other:
                _, user, *rules = line.split()
                pipe.execute_command("ACL SETUSER", user, "reset", *rules)
                if user in present:  # Redis does not end what has logged in with the old password.
                    pipe.execute_command("CLIENT KILL", "USER", user)
            pipe.execute()
        client.execute_command("ACL SETUSER", MARKED, "reset", "off", f"~{wanted.mark}-{RULES}")
        with contextlib.suppress(redis.ResponseError):  # Without an aclfile there is nothing to write to.
            client.execute_command("ACL SAVE")
        if gone or other:
            changed = [line.split()[1] for line in other]
            log.info("broker.users_kept", changed=changed[:20], removed=gone[:20], count=len(changed) + len(gone))


def marked(client: Any) -> str | None:
    """The mark that Redis has; None when there is none."""
    found = client.execute_command("ACL GETUSER", MARKED)
    keys = found.get("keys", "") if isinstance(found, dict) else ""
    text = " ".join(keys) if isinstance(keys, list) else str(keys)
    return text.removeprefix("~") or None


def words(line: str) -> frozenset[str]:
    """The rules of a line of ACL LIST, without those that Redis adds or leaves out by itself (since version 7)."""
    return frozenset(line.split()) - {"resetkeys", "sanitize-payload", "skip-sanitize-payload"}
