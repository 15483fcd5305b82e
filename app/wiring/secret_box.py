"""Encrypts secrets at rest with Fernet keys kept in one file, newest first; older keys still open what they sealed.

The file is looked at before every use, which costs one stat(2): a process that runs while `muster secrets rotate` puts a new
key into it seals with that key from then on, without a restart.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class FernetBox:
    """The secret box of `app.services.context`. keys: fixed ones, or a function that gives the present ones."""

    def __init__(self, keys: Sequence[str] | Callable[[], Sequence[str]]) -> None:
        self._keys: Callable[[], Sequence[str]] = keys if callable(keys) else (lambda: keys)
        self._made: tuple[tuple[str, ...], MultiFernet] | None = None

    def seal(self, plain: str) -> str:
        """Encrypt with the newest key."""
        return self._fernet().encrypt(plain.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt with any known key; ValueError if none fits."""
        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise ValueError(
                "a stored secret was sealed with a key that is not in the secret-key file; put that key back"
            ) from error

    def reseal(self, sealed: str) -> str | None:
        """The same secret sealed with the newest key; None when it already is. ValueError if no key fits."""
        try:
            Fernet(self._keys()[0]).decrypt(sealed.encode())
        except InvalidToken:
            return self.seal(self.open(sealed))
        return None

    def _fernet(self) -> MultiFernet:
        keys = tuple(self._keys())
        made = self._made
        if made is None or made[0] != keys:
            self._made = made = (keys, MultiFernet([Fernet(key) for key in keys]))
        return made[1]


class KeyFile:
    """The keys of a file, read again when the file has changed. ValueError when it is unsafe or holds none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], tuple[str, ...]] | None = None
        open_key_file(path)

    def keys(self) -> tuple[str, ...]:
        """The present keys, newest first."""
        state = self.path.stat()
        mark = (state.st_ino, state.st_mtime_ns, state.st_size)
        read = self._read
        if read is None or read[0] != mark:
            self._read = read = (mark, tuple(open_key_file(self.path)))
        return read[1]

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """Keep other rotations away. ValueError when one is under way."""
        descriptor = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError("another rotation is under way on this host; wait for its end") from error
            yield

    def add(self) -> None:
        """Put a new key above the others."""
        self._write([Fernet.generate_key().decode(), *self.keys()])

    def keep_newest(self) -> None:
        """Forget all keys but the newest."""
        self._write([self.keys()[0]])

    def _write(self, keys: Sequence[str]) -> None:
        """Replace the file whole, on the disk before it counts: a lost key is a lost database."""
        fresh = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("".join(f"{key}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        owner = self.path.stat()
        if os.geteuid() == 0:
            os.chown(fresh, owner.st_uid, owner.st_gid)
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
