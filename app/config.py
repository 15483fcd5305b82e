"""The environment, read once into one frozen object.

MUSTER_STATE_DIR      where the control plane keeps its database, keys, broker and logs (default /var/lib/muster)
MUSTER_DATABASE_URL   SQLAlchemy URL (default: SQLite in the state directory)
MUSTER_BROKER_URL     Celery broker (default: files in the state directory)
MUSTER_CACHE          where boot images are kept (default /var/cache/muster)
MUSTER_DOMAIN         name of the first DNS domain (default muster.internal)
MUSTER_LOG_FORMAT     json or text (default text)
MUSTER_SECURE_COOKIE  1 where people reach the pages by https only: the session cookie is then never sent in the clear
MUSTER_BEHIND_PROXY   1 where a proxy on this host stands in front: its X-Real-IP says who is asking
MUSTER_STREAMS        how many event streams one process serves at once (default 200)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOG_FORMATS = ("json", "text")
TRUE, FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class ConfigError(ValueError):
    """An environment variable holds what cannot be right; the sentence names it, its value and the rule."""


@dataclass(frozen=True)
class Config:
    """Settings of this process that no service changes."""

    state_dir: Path
    database_url: str
    broker_url: str
    cache_dir: Path
    domain: str = "muster.internal"
    log_format: str = "text"
    secure_cookie: bool = False
    streams: int = 200
    behind_proxy: bool = False

    @property
    def log_dir(self) -> Path:
        """Where child processes of `muster run` write."""
        return self.state_dir / "log"


def load(environ: Mapping[str, str]) -> Config:
    """The configuration of this environment. ConfigError for a value that breaks a rule."""
    state_dir = _directory(environ, "MUSTER_STATE_DIR", "/var/lib/muster")
    log_format = environ.get("MUSTER_LOG_FORMAT") or "text"
    if log_format not in LOG_FORMATS:
        raise ConfigError(f"MUSTER_LOG_FORMAT={log_format!r}: must be one of {', '.join(LOG_FORMATS)}")
    database_url = environ.get("MUSTER_DATABASE_URL") or f"sqlite:///{state_dir / 'muster.db'}"
    if not database_url.startswith(("sqlite:///", "postgresql")):
        kind = database_url.partition(":")[0]
        raise ConfigError(
            f"MUSTER_DATABASE_URL: databases are sqlite:///path and postgresql+psycopg2://..., not {kind!r}"
        )
    return Config(
        state_dir=state_dir,
        database_url=database_url,
        broker_url=environ.get("MUSTER_BROKER_URL") or f"file://{state_dir / 'broker'}",
        cache_dir=_directory(environ, "MUSTER_CACHE", "/var/cache/muster"),
        domain=(environ.get("MUSTER_DOMAIN") or "muster.internal").rstrip(".").lower(),
        log_format=log_format,
        secure_cookie=_flag(environ, "MUSTER_SECURE_COOKIE"),
        streams=_number(environ, "MUSTER_STREAMS", 200),
        behind_proxy=_flag(environ, "MUSTER_BEHIND_PROXY"),
    )


def _directory(environ: Mapping[str, str], name: str, default: str) -> Path:
    path = Path(environ.get(name) or default)
    if not path.is_absolute():
        raise ConfigError(f"{name}={str(path)!r}: must be an absolute path, as in {default}")
    return path


def _flag(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "").strip().lower()
    if value not in TRUE + FALSE:
        raise ConfigError(f"{name}={value!r}: must be 1 or 0")
    return value in TRUE


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name) or str(default)
    if not value.isdecimal() or not 1 <= int(value) <= 1000:
        raise ConfigError(f"{name}={value!r}: must be a whole number from 1 to 1000")
    return int(value)
