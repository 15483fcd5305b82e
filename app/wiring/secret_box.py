"""Encrypts secrets at rest with Fernet keys kept in one file, newest first; older keys still open what they sealed.

To rotate: put a new key (`Fernet.generate_key()`) on a line above the old ones and restart.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class FernetBox:
    """The secret box of `app.services.context`."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, plain: str) -> str:
        """Encrypt with the newest key."""
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt with any known key; ValueError if none fits."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise ValueError(
                "a stored secret was sealed with a key that is not in the secret-key file; put that key back"
            ) from error


def open_key_file(path: Path) -> list[str]:
    """The keys in the file; made with one new key, readable by its owner only, when it is not there.

    Processes and threads that start at once get the same key: the file appears whole, by link, or not at all.
    """
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(Fernet.generate_key().decode() + "\n")
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink(missing_ok=True)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ValueError(f"{path}: mode {mode:o} lets others read the keys; make it 0600")
    keys = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not keys:
        raise ValueError(
            f"{path}: holds no key; put the lost key back, secrets in the database cannot be read without it"
        )
    return keys
