"""Where the doorbell's broker is and who this rack is there: asked of the control plane, kept for when that is away.

What it says without the password is in `<root>/broker.json`, its CAs in `<root>/broker-ca.pem`, the password with the
other secrets.  Whoever connects asks again first, so that a new password is there the moment the old one is refused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from redis.credentials import CredentialProvider

from app.broker import RACK_PASSWORD, Login, Tls, as_user, check_url, is_redis, rack_rules
from workers.rack.client import ControlPlane, ControlPlaneDown, ControlPlaneRefused
from workers.rack.config import ConfigError, RackConfig
from workers.rack.files import write_atomically
from workers.rack.secret_files import SecretFiles, SecretMissing

PASSWORD = "broker-password"  # noqa: S105 - the name of a file
FILE_NAME, CA_NAME = "broker.json", "broker-ca.pem"
CA_SETTING = "MUSTER_BROKER_CA at the control plane, or --broker-ca of `muster-rack enrol`"
CERT_SETTING = "--broker-cert and --broker-key of `muster-rack enrol`"
ASK_SECONDS = 1.0
"""How often the control plane is asked at most, however often somebody connects."""
WAIT_SECONDS, AGAIN_SECONDS = 60.0, 5.0
"""How often it is asked by a rack that has no broker, and by one that it does not answer."""
log = structlog.get_logger()


@dataclass(frozen=True)
class Given:
    """What the control plane said: a broker, and with Redis this rack's user there. ca: PEM text."""

    url: str
    user: str | None = None
    ca: str | None = None
    password: str | None = field(default=None, repr=False)


class BrokerSource:
    """The present word on the broker."""

    def __init__(self, config: RackConfig, client: ControlPlane) -> None:
        self._config, self._client = config, client
        self._secrets = SecretFiles(config.root)
        self._path = config.root / FILE_NAME

    def ask(self) -> Given | None:
        """Ask, and keep the answer; None where there is no broker for us. ControlPlaneDown, ControlPlaneRefused, ConfigError."""
        try:
            said = self._client.broker()
        except ControlPlaneRefused as error:
            if error.status != 404:
                raise
            said = {"url": self._config.broker_url}  # Older software on the other side knows files only.
        given = _checked(said)
        if given is None:
            self._path.unlink(missing_ok=True)
            self._secrets.forget(PASSWORD)
            return None
        if given.password is not None:
            self._secrets.write(PASSWORD, given.password)
        if given.ca is not None:
            write_atomically(self._config.root / CA_NAME, given.ca.encode(), mode=0o644)
        kept = {"url": given.url, "user": given.user, "ca": given.ca}
        write_atomically(self._path, json.dumps(kept).encode(), mode=0o600)
        return given

    def kept(self) -> Given | None:
        """What it said last, or at the enrolment; None when it never did."""
        try:
            given = _checked(json.loads(self._path.read_text()))
            return given and Given(
                given.url, given.user, given.ca, self._secrets.read(PASSWORD) if given.user else None
            )
        except (OSError, ValueError, SecretMissing):
            enrolled = self._config.broker_url
            return Given(enrolled) if enrolled and not is_redis(enrolled) else None

    def wait(self, sleep: Callable[[float], None] = time.sleep) -> Given:
        """The broker, as soon as there is one; what is known from before counts while the control plane is away."""
        said = ""
        while True:
            try:
                given, pause = self.ask(), WAIT_SECONDS
                reason = "this site has no broker for this rack, which polls by itself"
            except (ControlPlaneDown, ControlPlaneRefused, ConfigError) as error:
                given, reason, pause = self.kept(), str(error), AGAIN_SECONDS
            if given is not None:
                return given
            if reason != said:
                log.warning("doorbell.waits", reason=reason)
                said = reason
            sleep(pause)

    def login(self, given: Given) -> Login:
        """The broker and who we are there, without the password: that is asked for anew by `Credentials`."""
        config, ca = self._config, self._config.broker_ca
        if ca is None and given.ca is not None:
            ca = str(config.root / CA_NAME)
        rules = " ".join(rack_rules(config.name))
        url = as_user(given.url, given.user) if given.user else given.url
        tls = Tls(ca, config.broker_cert, config.broker_key)
        return Login(url, None, tls, rules, RACK_PASSWORD, CA_SETTING, CERT_SETTING)


class Credentials(CredentialProvider):
    """User and password for each connection (redis-py). moved: called when the broker has become another one."""

    def __init__(self, source: BrokerSource, given: Given, moved: Callable[[], None]) -> None:
        self._source, self._given, self._moved = source, given, moved
        self._asked = time.monotonic()
        self._lock = threading.Lock()

    def get_credentials(self) -> tuple[str, str]:
        """Who we are: by the control plane's present word, or by its last one."""
        with self._lock:
            if time.monotonic() - self._asked >= ASK_SECONDS:
                self._ask()
            return self._given.user or "", self._given.password or ""

    def _ask(self) -> None:
        self._asked = time.monotonic()
        try:
            found = self._source.ask()
        except (ControlPlaneDown, ControlPlaneRefused, ConfigError) as error:
            log.warning("doorbell.not_told", reason=str(error))
            return
        known = self._given
        if found is None or (found.url, found.user, found.ca) != (known.url, known.user, known.ca):
            log.warning("doorbell.moved", reason="the control plane names another broker")
            self._moved()
        self._given = found or known


def _checked(said: dict[str, Any]) -> Given | None:
    """ConfigError for a Redis that would be spoken to in the clear, or one without a user of ours."""
    url = said.get("url")
    if not url:
        return None
    given = Given(str(url), said.get("user"), said.get("ca"), said.get("password"))
    if is_redis(given.url):
        try:
            check_url("the broker", given.url, login=False)
        except ValueError as error:
            raise ConfigError(f"{error} (MUSTER_BROKER_RACK_URL at the control plane)") from error
        if not given.user:
            raise ConfigError("the control plane names a Redis and no user for this rack; update the control plane")
    return given


def tls_path(name: str, text: str | None) -> str | None:
    """A path of a PEM file of this rack's own. ConfigError when it is not there."""
    if text is not None and not (Path(text).is_absolute() and Path(text).is_file()):
        raise ConfigError(f"{name} {text}: give the absolute path of a file that is there")
    return text
