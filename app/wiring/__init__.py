"""The only place that chooses concrete things: database, clock, task sender, secret box, log."""

from __future__ import annotations

import hashlib
import hmac

from app.config import Config
from app.services.context import Context
from app.store.models import utc_now
from app.store.unit_of_work import Store, make_engine
from app.wiring.ring import CeleryRing
from app.wiring.secret_box import FernetBox, open_key_file


def wire(config: Config) -> Context:
    """A context over the configured database. Makes the state directory and the key file when they are not there."""
    secrets = FernetBox(_keys(config))
    return Context(Store(make_engine(config.database_url)), utc_now, secrets, CeleryRing(config.broker_url))


def session_keys(config: Config) -> list[str]:
    """Keys that sign web sessions, newest first, derived from the secret keys: no second secret to keep."""
    return [hmac.new(key.encode(), b"muster web session", hashlib.sha256).hexdigest() for key in _keys(config)]


def _keys(config: Config) -> list[str]:
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return open_key_file(config.state_dir / "secret-key")
