"""Makes and runs the rack's private PostgreSQL, `python -m workers.rack.hosts_database prepare|run|check`.

`prepare` comes before every start and leaves a database that may be answered from at once: Kea's own schema, the role
with this rack's password, and exactly the hosts of the rack's store of records.  What cannot be used any more (another
PostgreSQL, another Kea, no data) is thrown away and made again, as nothing is only here.  That happens behind a socket of
its own, so that Kea never meets a database without its hosts: it would give wrong addresses then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from renderers.services import hosts_db
from workers.rack import host_rows
from workers.rack.channels.base import ChannelError, run
from workers.rack.files import change_owner, write_atomically
from workers.rack.hosts import Host, parse_host
from workers.rack.record_store import RecordStore
from workers.rack.secret_files import SecretFiles

SCHEMA = Path("/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql")
"""Debian's package kea-admin."""
VERSIONS = Path("/usr/lib/postgresql")
START_SECONDS = 30


def programs() -> str:
    """Directory of the newest PostgreSQL's programs, empty unless Kea's schema and psycopg2 are here as well."""
    found = [path for path in VERSIONS.glob("*/bin") if (path / "postgres").exists() and (path / "initdb").exists()]
    if not found or not SCHEMA.is_file() or not _has_client():
        return ""
    return str(max(found, key=lambda path: float(path.parent.name)))


def _has_client() -> bool:
    import importlib.util

    return importlib.util.find_spec("psycopg2") is not None


def check(staged: Path) -> None:
    """PostgreSQL reads the settings.  ChannelError with what it said."""
    with tempfile.TemporaryDirectory(prefix="muster-hosts-db-") as empty:
        change_owner(Path(empty), hosts_db.USER)
        argv = [f"{programs()}/postgres", "-D", empty, "-c", f"config_file={staged / hosts_db.FILE}"]
        run([*_as_user(), *argv, "-C", "max_connections"])


def prepare(current: Path, state: Path) -> None:
    """See that the database is there, whole and up to date with the rack's store.  ChannelError says what went wrong."""
    root = state.parents[2]
    data = state / "data"
    stamp = {"postgres": programs(), "schema": hashlib.sha256(SCHEMA.read_bytes()).hexdigest()}
    if not _is_usable(state, stamp):
        shutil.rmtree(data, ignore_errors=True)
        argv = [f"{programs()}/initdb", "-D", str(data), "-U", hosts_db.USER, "-A", "peer", "-E", "UTF8"]
        # What it writes is made safe with the rest, before anybody relies on it.
        run([*_as_user(), *argv, "--locale=C", "--no-sync"], START_SECONDS)
    sockets = Path(tempfile.mkdtemp(prefix="muster-hosts-db-"))
    try:
        change_owner(sockets, hosts_db.USER)
        sockets.chmod(0o755)
        _while_running(current, data, sockets, lambda: _fill(root, sockets))
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    write_atomically(state / "made.json", json.dumps(stamp).encode())


def serve(current: Path, state: Path) -> None:
    """Become the daemon."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(hosts_db.USER)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.chdir("/")
    program = f"{programs()}/postgres"
    os.execv(program, [program, "-D", str(state / "data"), "-c", f"config_file={current / hosts_db.FILE}"])  # noqa: S606


def _is_usable(state: Path, stamp: dict[str, str]) -> bool:
    try:
        return bool(json.loads((state / "made.json").read_text()) == stamp) and (state / "data/PG_VERSION").is_file()
    except (OSError, ValueError):
        return False


def _while_running(current: Path, data: Path, sockets: Path, work: Callable[[], None]) -> None:
    settings = (
        f"config_file={current / hosts_db.FILE}",
        f"unix_socket_directories={sockets}",
        "external_pid_file=",
        "fsync=off",
    )
    options = " ".join(f"-c '{setting}'" for setting in settings)
    control = [*_as_user(), f"{programs()}/pg_ctl", "-D", str(data), "-s", "-w", "-t", str(START_SECONDS)]
    # The server keeps what it inherits, and a pipe of ours would never end.
    log = sockets / "log"
    done = subprocess.run(
        [*control, "-l", str(log), "-o", options, "start"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        timeout=START_SECONDS + 10,
        check=False,
    )
    if done.returncode != 0:
        said = log.read_text(errors="replace")[-600:] if log.exists() else ""
        raise ChannelError(f"the hosts database does not start: {said.strip()}")
    try:
        work()
    finally:
        run([*control, "-m", "fast", "stop"], START_SECONDS + 10)
    # What was written without fsync is made safe now, before anybody relies on it.
    os.sync()


def _fill(root: Path, sockets: Path) -> None:
    password = SecretFiles(root).read(hosts_db.SECRET)
    there = _psql(sockets, "postgres", f"SELECT 1 FROM pg_database WHERE datname = '{hosts_db.DATABASE}'")  # noqa: S608
    role = _psql(sockets, "postgres", f"SELECT 1 FROM pg_roles WHERE rolname = '{hosts_db.ROLE}'")  # noqa: S608
    verb = "ALTER" if role.strip() else "CREATE"
    quoted = password.replace("'", "''")
    _psql(sockets, "postgres", f"{verb} ROLE {hosts_db.ROLE} LOGIN PASSWORD '{quoted}'")
    if not there.strip():
        _psql(sockets, "postgres", f"CREATE DATABASE {hosts_db.DATABASE} OWNER {hosts_db.ROLE}")
    if not _psql(sockets, hosts_db.DATABASE, "SELECT to_regclass('schema_version')").strip():
        _psql(sockets, hosts_db.DATABASE, f"SET ROLE {hosts_db.ROLE};\n{SCHEMA.read_text()}")
    store = RecordStore(root / "records.db")
    with host_rows.connected(sockets, password) as cursor:
        for family in (4, 6):
            # A store that has heard nothing yet knows nothing against what is here.
            host_rows.make_equal(cursor, family, stored_hosts(store, family), others=store.sequence > 0)


def stored_hosts(store: RecordStore, family: int) -> dict[int, list[Host]]:
    """All hosts of a family in the rack's store, by subnet."""
    found: defaultdict[int, list[Host]] = defaultdict(list)
    for scope in store.scopes:
        for key, value in store.values(scope, "host:").items():
            host = parse_host(key, value)
            if host.family == family:
                found[host.subnet_id].append(host)
    return dict(found)


def _psql(sockets: Path, database: str, text: str) -> str:
    """Statements on standard input, where no list of processes shows them."""
    argv = [*_as_user(), f"{programs()}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(sockets)]
    argv += ["-p", str(hosts_db.PORT), "-U", hosts_db.USER, "-d", database, "-f", "-"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, cwd="/", timeout=60, check=False)
    if done.returncode != 0:
        raise ChannelError(f"psql: {done.stderr.strip()[-300:]}")
    return done.stdout


def _as_user() -> list[str]:
    """The server refuses to be root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", hosts_db.USER, "--regid", hosts_db.USER, "--clear-groups"]


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 1 with one sentence if it fails."""
    parser = argparse.ArgumentParser(prog="hosts_database")
    parser.add_argument("verb", choices=("prepare", "run", "check"))
    parser.add_argument("files", type=Path)
    parser.add_argument("state", type=Path)
    options = parser.parse_args(arguments)
    try:
        if not programs():
            raise ChannelError("PostgreSQL, kea-admin or psycopg2 is not on this host; install them")
        if options.verb == "check":
            check(options.files)
        elif options.verb == "prepare":
            prepare(options.files, options.state)
        else:
            serve(options.files, options.state)
    except (
        ChannelError,
        host_rows.DatabaseDown,
        host_rows.DatabaseRefuses,
        OSError,
        subprocess.SubprocessError,
    ) as error:
        print(f"hosts database: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
