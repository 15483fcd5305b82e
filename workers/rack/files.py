"""Files that are there whole or not at all, and the directories of one service."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


def write_atomically(path: Path, content: bytes, mode: int = 0o644, owner: str | None = None) -> None:
    """Write beside, flush to the disk, rename.  OSError leaves the old file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                change_owner(Path(name), owner)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def link_atomically(link: Path, target: str) -> None:
    """Point the symbolic link at a target by rename, so that a reader always finds one."""
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    os.replace(beside, link)


def change_owner(path: Path, owner: str) -> None:
    """Give a file to a user and the user's own group; nothing happens without root.  KeyError names an unknown user."""
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(owner)
    except KeyError:
        raise KeyError(f"{path}: its owner {owner!r} is no user of this host; install the service's package") from None
    os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


@dataclass(frozen=True)
class ServiceDirectories:
    """Where one service lives: releases that are never changed, and the links that name two of them."""

    root: Path
    service: str

    @property
    def base(self) -> Path:
        """`<root>/services/<service>`."""
        return self.root / "services" / self.service

    @property
    def releases(self) -> Path:
        """One directory for each staged bundle."""
        return self.base / "releases"

    @property
    def current(self) -> Path:
        """Link to the release the daemon runs."""
        return self.base / "current"

    @property
    def last_good(self) -> Path:
        """Link to the last release whose probes were green."""
        return self.base / "last-good"

    @property
    def state(self) -> Path:
        """What the daemon writes; outlives releases."""
        return self.base / "state"

    @property
    def run(self) -> Path:
        """Sockets and pid files."""
        return self.base / "run"

    def prepare(self, user: str, run_mode: int = 0o755) -> None:
        """Make what is missing; state and run belong to the daemon's user."""
        for path in (self.releases, self.state, self.run):
            path.mkdir(parents=True, exist_ok=True)
        for path in (self.base, self.releases):
            path.chmod(0o755)
        for path, mode in ((self.state, 0o755), (self.run, run_mode)):
            path.chmod(mode)
            change_owner(path, user)

    def words(self, staged: Path | None = None) -> dict[str, str]:
        """What `{staged}`, `{current}`, `{state}`, `{run}` and `{python}` mean in commands."""
        return {
            "{staged}": str(staged or self.current),
            "{current}": str(self.current),
            "{state}": str(self.state),
            "{run}": str(self.run),
            "{python}": sys.executable,
        }

    def target(self, link: Path) -> str | None:
        """Name of the release a link points at; None if it points nowhere."""
        try:
            name = os.readlink(link)
        except OSError:
            return None
        return Path(name).name if link.exists() else None


def substitute(text: str, words: dict[str, str]) -> str:
    """Replace the words of `ServiceDirectories.words` in one argument or value."""
    for word, value in words.items():
        text = text.replace(word, value)
    return text
