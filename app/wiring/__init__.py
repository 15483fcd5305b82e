"""The only place that chooses concrete things: database, clock, task sender, secret box, log."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from sqlalchemy import Engine, event

from app import metrics
from app.config import Config
from app.services.context import Context
from app.store.models import utc_now
from app.store.unit_of_work import Store, make_engine
from app.wiring.ring import CeleryRing
from app.wiring.secret_box import FernetBox, KeyFile


def wire(config: Config) -> Context:
    """A context over the configured database. Makes the state directory and the key file when they are not there."""
    secrets = FernetBox(key_file(config).keys)
    engine = make_engine(config.database_url)
    _count_connections(engine)
    return Context(Store(engine), utc_now, secrets, CeleryRing(config.broker))


def session_keys(config: Config) -> list[str]:
    """Keys that sign web sessions, newest first, derived from the secret keys: no second secret to keep."""
    return session_keys_of(key_file(config).keys())


def session_keys_of(keys: Sequence[str]) -> list[str]:
    """The session keys that belong to these secret keys, in their order."""
    return [hmac.new(key.encode(), b"muster web session", hashlib.sha256).hexdigest() for key in keys]


def _count_connections(engine: Engine) -> None:
    event.listen(engine, "checkout", lambda *ignored: metrics.CONNECTIONS.inc())
    event.listen(engine, "checkin", lambda *ignored: metrics.CONNECTIONS.dec())


def key_file(config: Config) -> KeyFile:
    """The installation's key file, made when it is not there."""
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return KeyFile(config.state_dir / "secret-key")
