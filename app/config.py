"""The environment, read once into one frozen object.

MUSTER_STATE_DIR      where the control plane keeps its database, keys, broker and logs (default /var/lib/muster)
MUSTER_DATABASE_URL   SQLAlchemy URL (default: SQLite in the state directory)
MUSTER_BROKER_URL     Celery broker (default: files in the state directory)
MUSTER_BROKER_PASSWORD_FILE  file with the password of the user in MUSTER_BROKER_URL, where the URL holds none
MUSTER_BROKER_CA      PEM file of the CAs that vouch for Redis; racks get it too (default: this host's CAs)
MUSTER_BROKER_CERT, MUSTER_BROKER_KEY  PEM files of a client's certificate, where Redis asks for one
MUSTER_BROKER_RACK_URL  where racks find the same Redis (default: MUSTER_BROKER_URL, unless only this host reaches that)
MUSTER_BROKER_ADMIN_USER, MUSTER_BROKER_ADMIN_PASSWORD_FILE  who keeps the racks' users in Redis (default: nobody, see
                      `muster broker acl`)
MUSTER_CACHE          where boot images are kept (default /var/cache/muster)
MUSTER_DOMAIN         name of the first DNS domain (default muster.internal)
MUSTER_LOG_FORMAT     json or text (default text)
MUSTER_SECURE_COOKIE  1 where people reach the pages by https only: the session cookie is then never sent in the clear
MUSTER_BEHIND_PROXY   1 where a proxy on this host stands in front: its X-Real-IP says who is asking
MUSTER_STREAMS        how many event streams one process serves at once (default 200)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.broker import ADMIN_PASSWORD, ADMIN_RULES, Login, Tls, as_user, check_url, is_local, is_redis, without_login

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
    broker_password_file: Path | None = None
    broker_tls: Tls = field(default_factory=Tls)
    broker_rack_url: str | None = None
    broker_admin_user: str | None = None
    broker_admin_password_file: Path | None = None

    @property
    def broker(self) -> Login:
        """The broker and who the control plane is there. ConfigError when the password cannot be read."""
        password = _password("MUSTER_BROKER_PASSWORD_FILE", self.broker_password_file)
        return Login(self.broker_url, password, self.broker_tls)

    @property
    def broker_admin(self) -> Login | None:
        """The broker as the user that keeps racks' users; None where the site does that. ConfigError as above."""
        if self.broker_admin_user is None or not is_redis(self.broker_url):
            return None
        return Login(
            as_user(self.broker_url, self.broker_admin_user),
            _password("MUSTER_BROKER_ADMIN_PASSWORD_FILE", self.broker_admin_password_file),
            self.broker_tls,
            ADMIN_RULES,
            ADMIN_PASSWORD,
        )

    def broker_for_racks(self, here: bool) -> str | None:
        """Where a rack finds the broker; None where it cannot. here: whether it is on this host."""
        if is_redis(self.broker_url):
            url = self.broker_rack_url or without_login(self.broker_url)
            return url if here or self.broker_rack_url or not is_local(url) else None
        return self.broker_url if here or not is_local(self.broker_url) else None

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
    broker_url = environ.get("MUSTER_BROKER_URL") or f"file://{state_dir / 'broker'}"
    rack_url = environ.get("MUSTER_BROKER_RACK_URL") or None
    try:
        if is_redis(broker_url):
            check_url("MUSTER_BROKER_URL", broker_url, login=True)
        if rack_url is not None:
            check_url("MUSTER_BROKER_RACK_URL", rack_url, login=False)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Config(
        state_dir=state_dir,
        database_url=database_url,
        broker_url=broker_url,
        cache_dir=_directory(environ, "MUSTER_CACHE", "/var/cache/muster"),
        domain=(environ.get("MUSTER_DOMAIN") or "muster.internal").rstrip(".").lower(),
        log_format=log_format,
        secure_cookie=_flag(environ, "MUSTER_SECURE_COOKIE"),
        streams=_number(environ, "MUSTER_STREAMS", 200),
        behind_proxy=_flag(environ, "MUSTER_BEHIND_PROXY"),
        broker_password_file=_file(environ, "MUSTER_BROKER_PASSWORD_FILE"),
        broker_tls=_tls(environ),
        broker_rack_url=rack_url,
        broker_admin_user=environ.get("MUSTER_BROKER_ADMIN_USER") or None,
        broker_admin_password_file=_file(environ, "MUSTER_BROKER_ADMIN_PASSWORD_FILE"),
    )


def _tls(environ: Mapping[str, str]) -> Tls:
    names = ("MUSTER_BROKER_CA", "MUSTER_BROKER_CERT", "MUSTER_BROKER_KEY")
    ca, cert, key = (None if (path := _file(environ, name)) is None else str(path) for name in names)
    if (cert is None) != (key is None):
        raise ConfigError("MUSTER_BROKER_CERT and MUSTER_BROKER_KEY: give both or neither")
    return Tls(ca, cert, key)


def _file(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name)
    if not text:
        return None
    path = Path(text)
    if not path.is_absolute() or not path.is_file():
        raise ConfigError(f"{name}={text!r}: must be the absolute path of a file that is there")
    return path


def _password(name: str, path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        found = path.read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}={str(path)!r}: cannot be read ({error})") from error
    if not found:
        raise ConfigError(f"{name}={str(path)!r}: is empty; write the password into it")
    return found


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
