"""A private PostgreSQL for benchmarks and tests: a cluster in a temporary directory, reached by a unix socket only.

It runs as the user postgres without fsync, and is stopped and deleted at the end.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

_numbers = itertools.count(1)
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60", "listen_addresses=''")


class PostgresMissing(RuntimeError):
    """PostgreSQL's programs are not on this host."""


class Cluster:
    """A running server; `new_database()` gives the URL of an empty database, or of a copy of another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def new_database(self, like: str = "template1") -> str:
        """Make a database, empty or like another that nobody is connected to; its SQLAlchemy URL."""
        name = f"muster_test_{next(_numbers)}"
        connection = psycopg2.connect(host=str(self.directory), user="postgres", dbname="postgres")
        try:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        finally:
            connection.close()
        return f"postgresql+psycopg2://postgres@/{name}?host={self.directory}"


def programs() -> Path:
    """Directory of initdb and pg_ctl, newest version first. PostgresMissing when there is none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name)):
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise PostgresMissing("PostgreSQL is not installed; on Debian: apt install postgresql")


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster, give it, stop and delete it. PostgresMissing when it cannot be had here."""
    folder = programs()
    directory = Path(tempfile.mkdtemp(prefix="muster-pg-"))
    data = directory / "data"
    as_postgres: dict[str, str | int] = {}
    if os.geteuid() == 0:
        # The server refuses to run as root.
        entry = pwd.getpwnam("postgres")
        os.chown(directory, entry.pw_uid, entry.pw_gid)
        as_postgres = {"user": entry.pw_uid, "group": entry.pw_gid}
    try:
        _run(
            [folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            as_postgres,
        )
        options = " ".join(f"-c {setting}" for setting in (*SETTINGS, f"unix_socket_directories={directory}"))
        _run([folder / "pg_ctl", "-D", data, "-w", "-l", directory / "log", "-o", options, "start"], as_postgres)
        try:
            yield Cluster(directory)
        finally:
            _run([folder / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"], as_postgres)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(command: list[str | Path], as_postgres: dict[str, str | int]) -> None:
    subprocess.run(
        [str(word) for word in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        cwd="/",
        timeout=60,
        **as_postgres,  # type: ignore[call-overload]
    )
