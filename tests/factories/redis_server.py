"""A real Redis with TLS, users and an aclfile, and the authority that vouches for it; everything in one directory."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.broker import ADMIN_RULES, CONTROL_RULES, hash_of


class Authority:
    """A CA that signs certificates for names and addresses."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = folder / f"{name}.crt"
        self.path.write_bytes(_pem(self._certificate(self._name, self._key, ca=True, names=())))

    def sign(self, name: str, *names: str) -> tuple[Path, Path]:
        """A certificate and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        paths = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        paths[0].write_bytes(_pem(self._certificate(subject, key, ca=False, names=names)))
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        paths[1].write_bytes(text)
        return paths

    def _certificate(self, subject: x509.Name, key: Any, *, ca: bool, names: tuple[str, ...]) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        return made.sign(self._key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class RedisServer:
    """A Redis that speaks TLS only, with the users `muster` and `muster-admin`; a context manager.

    clients: whether it asks clients for a certificate.
    """

    def __init__(
        self, folder: Path, names: tuple[str, ...] = ("localhost", "127.0.0.1"), clients: bool = False
    ) -> None:
        folder.mkdir()
        self.folder, self._clients = folder, clients
        self.authority = Authority(folder, "ca")
        self._certificate, self._key = self.authority.sign("redis", *names)
        self.passwords = {name: secrets.token_urlsafe(16) for name in ("muster", "muster-admin")}
        self.files = {}
        for name, password in self.passwords.items():
            self.files[name] = folder / f"{name}.password"
            self.files[name].write_text(f"{password}\n")
        self.users = folder / "users.acl"
        self.forget_users()
        with socket.create_server(("127.0.0.1", 0)) as link:
            self.port = link.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where racks and the control plane find it, without a user."""
        return f"rediss://localhost:{self.port}/0"

    @property
    def environment(self) -> dict[str, str]:
        """Of a control plane that uses it."""
        return {
            "MUSTER_BROKER_URL": f"rediss://muster@localhost:{self.port}/0",
            "MUSTER_BROKER_PASSWORD_FILE": str(self.files["muster"]),
            "MUSTER_BROKER_CA": str(self.authority.path),
            "MUSTER_BROKER_RACK_URL": self.url,
            "MUSTER_BROKER_ADMIN_USER": "muster-admin",
            "MUSTER_BROKER_ADMIN_PASSWORD_FILE": str(self.files["muster-admin"]),
        }

    def forget_users(self) -> None:
        """Have the aclfile as the site writes it, with nobody that Muster has put in."""
        rules = {"muster": CONTROL_RULES, "muster-admin": ADMIN_RULES}
        lines = [f"user {name} on #{hash_of(word)} {rules[name]}" for name, word in self.passwords.items()]
        # The test's own eye, which the site does not have.
        self.users.write_text("\n".join(["user default on nopass ~* &* +@all", *lines, ""]))

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = subprocess.Popen(
            ["redis-server", "--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1",
             "--tls-cert-file", str(self._certificate), "--tls-key-file", str(self._key),
             "--tls-ca-cert-file", str(self.authority.path), "--tls-auth-clients", "yes" if self._clients else "no",
             "--unixsocket", str(self.folder / "redis.sock"), "--aclfile", str(self.users),
             "--save", "", "--dir", str(self.folder), "--logfile", str(self.folder / "redis.log")],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        ends = time.monotonic() + 30
        while True:
            try:
                self.eye().ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < ends, (self.folder / "redis.log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it had in memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def eye(self) -> redis.Redis:
        """A client on the socket that may everything."""
        return redis.Redis(unix_socket_path=str(self.folder / "redis.sock"), decode_responses=True)

    def client(self, user: str, password: str) -> redis.Redis:
        """A client over TLS."""
        return redis.Redis(
            host="localhost",
            port=self.port,
            username=user,
            password=password,
            ssl=True,
            ssl_ca_certs=str(self.authority.path),
            decode_responses=True,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
        )

    def connected(self, user: str) -> int:
        """How many connections a user has."""
        return sum(one["user"] == user for one in self.eye().client_list())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
