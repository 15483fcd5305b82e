"""The rack's secrets: one file for each in `<root>/secrets/`, readable by root only.

The update key, the rndc key, OMAPI's key and the hosts database's password have both ends on this host, so they are made
here and never leave; the tokens come from enrolment.  Nothing here is ever logged, and a reference to an unknown secret is an
error, not an empty string.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from pathlib import Path

from renderers.bundle import SECRET_REFERENCE
from workers.rack.files import write_atomically

MADE_HERE = ("tsig-update", "rndc-key", "hosts-db", "omapi")
RACK_TOKEN = "rack-token"  # noqa: S105 - the name of a file
RELAY_TOKEN = "relay-token"  # noqa: S105 - the name of a file
FETCHED = "dns-secondary-"
"""Beginning of the names of secrets that the control plane has made and the rack fetches when an offer refers to them."""
KEY_BYTES = 32
_NAME = re.compile(r"[a-z0-9-]+")


class SecretMissing(Exception):
    """A secret that is referred to does not exist on this rack."""


class SecretFiles:
    """Reads and writes secrets by name."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "secrets"

    def read(self, name: str) -> str:
        """The secret.  SecretMissing names it."""
        if not _NAME.fullmatch(name):
            raise SecretMissing(f"secret {name!r}: the name may hold a-z, 0-9 and - only")
        try:
            return (self._directory / name).read_text().strip()
        except FileNotFoundError:
            raise SecretMissing(
                f"secret {name!r} is not on this rack: enrol it again or correct the reference"
            ) from None

    def write(self, name: str, value: str) -> None:
        """Store a secret, 0600 in a directory 0700."""
        if not _NAME.fullmatch(name) or not value:
            raise ValueError(f"secret {name!r}: needs a name of a-z, 0-9, - and a value")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(self._directory, 0o700)
        write_atomically(self._directory / name, value.encode(), mode=0o600)

    def forget(self, name: str) -> None:
        """Delete a secret; harmless if there is none."""
        if _NAME.fullmatch(name):
            (self._directory / name).unlink(missing_ok=True)

    def keep_only(self, wanted: frozenset[str]) -> None:
        """Forget the secrets of outside servers that nothing refers to any more."""
        for path in self._directory.glob(f"{FETCHED}*") if self._directory.is_dir() else ():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def make_missing(self) -> None:
        """Make the keys whose two ends are on this host, unless they exist."""
        for name in MADE_HERE:
            try:
                self.read(name)
            except SecretMissing:
                self.write(name, base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())

    def fill(self, text: str) -> str:
        """The text with every `@secret:NAME@` replaced.  SecretMissing for one that is not here."""
        return SECRET_REFERENCE.sub(lambda match: self.read(match.group(1)), text)

    def hide(self, text: str) -> str:
        """The text with every secret of this rack replaced by its reference: daemons quote the line they refuse."""
        for path in sorted(self._directory.iterdir()) if self._directory.is_dir() else ():
            value = path.read_text().strip() if path.is_file() else ""
            if value:
                text = text.replace(value, f"@secret:{path.name}@")
        return text

    def fingerprint(self, names: frozenset[str]) -> str:
        """A digest that changes when one of the secrets does; says nothing about them."""
        digest = hashlib.sha256()
        for name in sorted(names):
            digest.update(f"{name}\0{self.read(name)}\0".encode())
        return digest.hexdigest()
