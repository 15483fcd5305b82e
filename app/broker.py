"""The broker of a grown site, Redis, as both ends see it: its URL and TLS, who may do what there, what its errors mean.

Pure, and known to control plane and racks alike.  A rack's user may do one thing: take a wake off its own queue.  Queues
are never declared and nothing is acknowledged (a lost wake costs only time), so kombu uses no key beside the queue itself:
no binding tables, no `unacked` hashes, no scripts (measured with kombu 5.7 by Redis' own ACL LOG).
"""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

TRANSPORT = "workers.redis_transport:Transport"
REDIS_SCHEMES = ("redis", "rediss", "redis+socket")
QUEUE_PREFIX = "rack."
RACK_COMMANDS = ("ping", "brpop")
CONTROL_RULES = "resetkeys ~region ~rack.* resetchannels -@all +ping +brpop +lpush +ltrim +multi +exec"
"""What the control plane's own user (`MUSTER_BROKER_URL`) needs."""
ADMIN_RULES = (
    "resetkeys ~rack.* resetchannels -@all +ping +del +client|kill"
    " +acl|setuser +acl|deluser +acl|getuser +acl|list +acl|save"
)
"""What the user that keeps racks' users (`MUSTER_BROKER_ADMIN_USER`) needs."""
OPTIONS: dict[str, Any] = {"ack_emulation": False, "priority_steps": [0], "socket_keepalive": True}
"""Options of kombu's transport that both ends share; they are why so few rights do."""
RACK_PASSWORD, CONTROL_PASSWORD, ADMIN_PASSWORD = (
    "the region worker puts it into Redis within seconds where MUSTER_BROKER_ADMIN_USER is set, else put in what"
    " `muster broker acl` prints; a rack that was deleted has none any more",
    "correct MUSTER_BROKER_PASSWORD_FILE or the user in MUSTER_BROKER_URL",
    "correct MUSTER_BROKER_ADMIN_USER or MUSTER_BROKER_ADMIN_PASSWORD_FILE",
)
"""What to do about a wrong password, for each who may have one."""


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files: the CAs that may vouch for Redis (the system's without one), and a client's own certificate."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def settings(self) -> dict[str, Any]:
        """As redis-py and Celery's `broker_use_ssl` take them. The host's name is always checked (RFC 9525)."""
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            "ssl_ca_certs": self.ca,
            "ssl_certfile": self.cert,
            "ssl_keyfile": self.key,
        }


@dataclass(frozen=True)
class Login:
    """A broker and who one is there; url holds no password. advice: what to do when the password is refused.

    ca_setting, cert_setting: how the settings of `tls` are called where this is.
    """

    url: str
    password: str | None = field(default=None, repr=False)
    tls: Tls = field(default_factory=Tls)
    rules: str = CONTROL_RULES
    advice: str = CONTROL_PASSWORD
    ca_setting: str = "MUSTER_BROKER_CA"
    cert_setting: str = "MUSTER_BROKER_CERT and MUSTER_BROKER_KEY"

    @property
    def user(self) -> str:
        """The name of the user; Redis calls the one without a name `default`."""
        return unquote(urlsplit(self.url).username or "") or "default"

    @property
    def full_url(self) -> str:
        """The URL with the password, for the client only."""
        if self.password is None:
            return self.url
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        user = quote(unquote(parts.username or ""), safe="")
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(self.password, safe='')}@{host}"))

    def settings(self, **options: Any) -> dict[str, Any]:
        """Celery's settings for this broker; options: more of kombu's transport."""
        parts = urlsplit(self.full_url)
        found: dict[str, Any] = {
            "broker_url": self.full_url,
            "broker_transport": TRANSPORT,
            "broker_transport_options": {**OPTIONS, "login": self, **options},
        }
        if parts.scheme == "redis+socket":  # kombu takes no transport of ours from such a URL.
            found["broker_url"] = urlunsplit(("redis", f"{parts.netloc.rpartition('@')[0]}@localhost", "/0", "", ""))
            found["broker_transport_options"]["socket_path"] = unquote(parts.path)
        if parts.scheme == "rediss":
            found["broker_use_ssl"] = self.tls.settings()
        return found


def is_redis(url: str) -> bool:
    """Whether this is a Redis, however it is reached."""
    return url.partition("://")[0] in REDIS_SCHEMES


def check_url(name: str, url: str, *, login: bool) -> str:
    """The URL of a Redis. ValueError says what is wrong: what is no Redis, or one in the clear beyond this host.

    name: of the setting.  login: whether a user and a password may stand in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(
            f"{name}: the URL cannot be read ({error}); give one like rediss://redis.example:6379/0"
        ) from error
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.scheme not in REDIS_SCHEMES:
        raise ValueError(f"{name}={shown!r}: must be rediss://host:6379/0, or redis+socket:///path on this host")
    if not login and (parts.username or parts.password):
        raise ValueError(f"{name}={shown!r}: must hold no user and no password, each rack has its own")
    if parts.scheme == "redis+socket":
        if host or not parts.path.startswith("/"):
            raise ValueError(
                f"{name}={shown!r}: a socket is a path on this host, as in redis+socket:///run/redis/redis.sock"
            )
    elif not host:
        raise ValueError(f"{name}={shown!r}: names no host, as in rediss://redis.example:6379/0")
    elif parts.scheme == "redis" and not is_loopback(host):
        raise ValueError(
            f"{name}={shown!r}: plain Redis would show passwords to the network and is for this host only; use rediss://"
            " and give Redis a certificate (tls-port)"
        )
    return url


def is_local(url: str) -> bool:
    """Whether only this host reaches a broker at this URL."""
    parts = urlsplit(url)
    return parts.scheme in ("file", "redis+socket") or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this host's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_login(url: str) -> str:
    """The URL with neither user nor password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def as_user(url: str, user: str) -> str:
    """The URL for another user, without a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}@{parts.netloc.rpartition('@')[2]}"))


def queue_of(rack_name: str) -> str:
    """A rack's queue, which is the one key that it may touch and its user's name as well."""
    return f"{QUEUE_PREFIX}{rack_name}"


def rack_rules(rack_name: str) -> tuple[str, ...]:
    """What a rack may do: wait at its own queue. One key by its whole name: no rack's is the beginning of another's."""
    queue = queue_of(rack_name)
    if not queue.removeprefix(QUEUE_PREFIX).replace("-", "").isalnum() or not queue.isascii():
        raise ValueError(f"rack {rack_name!r}: its name would be a pattern in Redis; a-z, 0-9 and - are not")
    return ("resetkeys", f"~{queue}", "resetchannels", "-@all", *(f"+{command}" for command in RACK_COMMANDS))


def acl_line(rack_name: str, password: str) -> str:
    """The rack's user as a line of Redis' aclfile, with the password's SHA-256 only."""
    return " ".join(("user", queue_of(rack_name), "on", f"#{hash_of(password)}", *rack_rules(rack_name)))


def hash_of(password: str) -> str:
    """A password as Redis keeps it (ACL SETUSER, `#<hash>`); ours are 256 random bits, so nobody guesses them back."""
    return hashlib.sha256(password.encode()).hexdigest()


def explain(error: BaseException, login: Login) -> str:
    """What went wrong at the broker, which setting is behind it and what to do; never with a password."""
    text = " ".join(str(part) for part in _chain(error))
    where, tls = f"the broker {without_login(login.url)}", login.tls
    if "Hostname mismatch" in text or "IP address mismatch" in text:
        return (
            f"{where}: its certificate is for another name; use the name in the certificate in the URL, or give Redis a"
            " certificate whose subjectAltName holds this one"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        ca = (
            f"the CA file {tls.ca} ({login.ca_setting})"
            if tls.ca
            else f"this host's CAs ({login.ca_setting} is not set)"
        )
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "not verified"
        return f"{where}: its certificate is not vouched for by {ca}: {why}; name the CA that has signed Redis' certificate"
    if "certificate required" in text.lower().replace("_", " "):
        return f"{where} wants a client's certificate; set {login.cert_setting}"
    if login.url.startswith("rediss:") and tls.cert is None and any(word in text for word in _ENDED):
        return (
            f"{where} ends the connection; if it wants a client's certificate, set {login.cert_setting}: {text[:200]}"
        )
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return f"{where} does not speak TLS at this port; name Redis' tls-port"
    if (
        "WRONGPASS" in text
        or "invalid username-password" in text
        or "NOAUTH" in text
        or "uthentication required" in text
    ):
        return f"{where} refuses user {login.user}: its password is wrong, or it is not there; {login.advice}"
    if "NOPERM" in text or "no permissions" in text:
        refused = text.partition("NOPERM ")[2] or text
        return (
            f"{where} refuses user {login.user} a command ({refused.strip()[:120]}); its rules must be: {login.rules}"
        )
    if "closed by server" in text and login.url.startswith("redis://"):
        return f"{where} closes the connection; if it speaks TLS, write rediss://"
    return f"{where}: {text[:300] or type(error).__name__}"


_ENDED = ("EOF occurred in violation", "closed by server", "onnection reset", "Broken pipe")
"""How a client sees that TLS 1.3's handshake was refused after its own part of it (RFC 8446, section 4.4.2.4)."""


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    here: BaseException | None = error
    while here is not None and here not in found:
        found.append(here)
        here = here.__cause__
    return found
