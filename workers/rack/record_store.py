"""The rack's own copy of its records: what Kea and BIND are refilled from when they lost theirs.

One SQLite file.  It holds the present value of each key and the value before it (the inverse), the digests of its buckets
(`renderers.record_digest`), the words that could not be made live, the scopes it keeps and how much of each it has, the
sequence up to which it has read, the words beyond it that were made live before their turn, and a journal.  It can be
rebuilt from the control plane by deleting it.

The journal says what is being made live: it is written before a daemon is touched and ended when the outcome is written
down.  Whoever finds one has died in between, and does not know which of it the daemons have.

Only `commit` waits for the disk: what else is written may be lost with the host's power, and is then read or done again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderers.record_digest import BUCKETS, MODULUS, bucket_of, total, weight

VERSION = "2"
RecordKey = tuple[str, str]
"""Scope and key."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
  scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, inverse TEXT, sequence INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_address ON record (scope, json_extract(value, '$.address'));
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scope (name TEXT PRIMARY KEY, next INTEGER NOT NULL, as_of INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS digest (
  scope TEXT NOT NULL, bucket INTEGER NOT NULL, total INTEGER NOT NULL, PRIMARY KEY (scope, bucket)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (
  scope TEXT NOT NULL, bucket INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (scope, bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failed (
  scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT, sequence INTEGER NOT NULL, reason TEXT NOT NULL,
  final INTEGER NOT NULL, PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
  scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT, inverse TEXT, sequence INTEGER NOT NULL, PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ahead (
  scope TEXT NOT NULL, key TEXT NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (scope, key)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class RecordChange:
    """One key and what it should hold; None means that it should not exist. request_id: for the log."""

    sequence: int
    scope: str
    key: str
    value: dict[str, Any] | None
    request_id: str | None = None


@dataclass(frozen=True)
class Unfinished:
    """What was being made live when the process ended. tries: how often that has been taken up since."""

    changes: tuple[RecordChange, ...]
    inverse: tuple[RecordChange, ...]
    tries: int


class RecordStore:
    """Records by scope and key.  Each thread has a connection of its own, so threads may share the object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # SQLite gives the files beside it the same mode.
        with self._connection() as connection:
            if self._read(connection, "version") != VERSION:
                _rebuild(connection)
                self._set(connection, "version", VERSION)
        path.chmod(0o600)

    @property
    def sequence(self) -> int:
        """Everything up to this change has been dealt with."""
        return int(self._meta("sequence") or 0)

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes whose records are kept."""
        with self._connection() as connection:
            return frozenset(row[0] for row in connection.execute("SELECT name FROM scope"))

    def serve_scopes(self, scopes: frozenset[str]) -> bool:
        """Keep these scopes from now on; True if one is new, and then a snapshot of it is needed."""
        known = self.scopes
        if scopes == known:
            return False
        with self._connection() as connection:
            for scope in known - scopes:
                for table in ("record", "digest", "place", "failed", "journal", "ahead"):
                    connection.execute(f"DELETE FROM {table} WHERE scope = ?", (scope,))  # noqa: S608 - our own names
                connection.execute("DELETE FROM scope WHERE name = ?", (scope,))
            connection.executemany(
                "INSERT INTO scope (name, next, as_of) VALUES (?, 0, NULL)", [(scope,) for scope in scopes - known]
            )
        return bool(scopes - known)

    def missing(self) -> dict[str, int]:
        """The scopes of which not all is here, and from which bucket on."""
        with self._connection() as connection:
            rows = connection.execute("SELECT name, next FROM scope WHERE next < ?", (BUCKETS,)).fetchall()
        return dict(rows)

    def miss(self, scopes: Iterable[str]) -> None:
        """A snapshot of these scopes is needed: something of them may have been given up before it was read."""
        with self._connection() as connection:
            connection.executemany(
                "UPDATE scope SET next = 0, as_of = NULL WHERE name = ? AND next >= ?",
                [(scope, BUCKETS) for scope in scopes],
            )

    def difference(
        self, scope: str, first: int, last: int, words: Sequence[RecordChange], as_of: int
    ) -> list[RecordChange]:
        """What has to change so that these buckets hold exactly these words; what has failed before is among it no more."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT place.key, record.value FROM place JOIN record USING (scope, key)"
                " WHERE place.scope = ? AND place.bucket BETWEEN ? AND ?",
                (scope, first, last),
            ).fetchall()
            failed = {
                (key, sequence)
                for key, sequence in connection.execute("SELECT key, sequence FROM failed WHERE scope = ?", (scope,))
            }
            ahead = dict(connection.execute("SELECT key, sequence FROM ahead WHERE scope = ?", (scope,)).fetchall())
        held = {key: json.loads(value) for key, value in rows}
        wanted = {word.key for word in words}
        gone = [RecordChange(as_of, scope, key, None) for key in sorted(held) if key not in wanted]
        return [
            word
            for word in (*words, *gone)
            if held.get(word.key) != word.value
            and (word.key, word.sequence) not in failed
            and word.sequence >= ahead.get(word.key, 0)
        ]

    def have(self, scope: str, last: int, as_of: int) -> None:
        """A snapshot's buckets up to `last` are here, as of a sequence (its first page's counts).

        When all scopes are here and none was before, everything up to the lowest of these sequences has been read.
        """
        with self._connection() as connection:
            connection.execute(
                "UPDATE scope SET next = ?, as_of = coalesce(as_of, ?) WHERE name = ?", (last + 1, as_of, scope)
            )
            if last < BUCKETS - 1:
                return
            states = connection.execute("SELECT next, as_of FROM scope").fetchall()
            if all(following >= BUCKETS and moment is not None for following, moment in states):
                lowest = min(moment for _, moment in states)
                known = int(self._read(connection, "sequence") or 0)
                self._set(connection, "sequence", str(max(lowest, known)))
                connection.execute("DELETE FROM ahead WHERE sequence <= ?", (lowest,))

    def value(self, scope: str, key: str) -> dict[str, Any] | None:
        """What a key holds, None if nothing."""
        with self._connection() as connection:
            row = connection.execute("SELECT value FROM record WHERE scope = ? AND key = ?", (scope, key)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def values(
        self, scope: str, prefix: str = "", after: str = "", most: int | None = None
    ) -> dict[str, dict[str, Any]]:
        """The keys of a scope in their order, those only that begin with a prefix and come after a key, so many at most."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT key, value FROM record WHERE scope = ? AND key > ? AND key < ? ORDER BY key LIMIT ?",
                (scope, max(prefix, after), f"{prefix}\U0010ffff", -1 if most is None else most),
            ).fetchall()
        return {key: json.loads(value) for key, value in rows}

    def holding(self, scope: str, address: str) -> dict[str, dict[str, Any]]:
        """The keys of a scope whose value holds an address; found by index, at any size."""
        with self._connection() as connection:
            rows = connection.execute(
                # Without the hint SQLite takes the primary key, and reads the whole scope.
                "SELECT key, value FROM record INDEXED BY record_address"
                " WHERE scope = ? AND json_extract(value, '$.address') = ?",
                (scope, address),
            ).fetchall()
        return {key: json.loads(value) for key, value in rows}

    def held(self, changes: Iterable[RecordChange]) -> dict[tuple[str, str], dict[str, Any]]:
        """What the keys of these changes hold, those that hold nothing left out; one look for all."""
        found = {}
        with self._connection() as connection:
            for change in changes:
                row = connection.execute(
                    "SELECT value FROM record WHERE scope = ? AND key = ?", (change.scope, change.key)
                ).fetchone()
                if row is not None:
                    found[change.scope, change.key] = dict(json.loads(row[0]))
        return found

    def commit(self, changes: Iterable[RecordChange]) -> None:
        """Remember what is live now: one transaction, digests included, on the disk before this returns."""
        deltas: dict[tuple[str, int], int] = defaultdict(int)
        with self._connection(durable=True) as connection:
            for change in changes:
                where = (change.scope, change.key)
                before = connection.execute("SELECT value FROM record WHERE scope = ? AND key = ?", where).fetchone()
                old = None if before is None else json.loads(before[0])
                bucket = bucket_of(change.key)
                deltas[change.scope, bucket] += weight(change.key, change.value) - weight(change.key, old)
                connection.execute("DELETE FROM failed WHERE scope = ? AND key = ?", where)
                if change.value is None:
                    connection.execute("DELETE FROM record WHERE scope = ? AND key = ?", where)
                    connection.execute(
                        "DELETE FROM place WHERE scope = ? AND bucket = ? AND key = ?",
                        (change.scope, bucket, change.key),
                    )
                    continue
                if before is None:
                    connection.execute("INSERT INTO place VALUES (?, ?, ?)", (change.scope, bucket, change.key))
                connection.execute(
                    "INSERT INTO record (scope, key, value, inverse, sequence) VALUES (?, ?, ?, NULL, ?)"
                    " ON CONFLICT (scope, key) DO UPDATE SET"
                    " inverse = CASE WHEN record.value = excluded.value THEN record.inverse ELSE record.value END, value = excluded.value,"
                    " sequence = excluded.sequence",
                    (*where, json.dumps(change.value, sort_keys=True), change.sequence),
                )
            _add(connection, deltas)

    def fail(
        self, changes: Iterable[RecordChange], reasons: Mapping[tuple[str, str], str], final: bool = False
    ) -> None:
        """Remember words that could not be made live; what was there before is served. final: they are not tried again."""
        with self._connection() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO failed (scope, key, value, sequence, reason, final) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        change.scope,
                        change.key,
                        None if change.value is None else json.dumps(change.value, sort_keys=True),
                        change.sequence,
                        reasons[change.scope, change.key],
                        final,
                    )
                    for change in changes
                    if (change.scope, change.key) in reasons
                ],
            )

    def settled(self, changes: Iterable[RecordChange]) -> None:
        """These words are what is there already: an older failure of their keys is history."""
        with self._connection() as connection:
            connection.executemany(
                "DELETE FROM failed WHERE scope = ? AND key = ?", [(change.scope, change.key) for change in changes]
            )

    def failed(self, tried_again: bool = False) -> dict[RecordKey, tuple[RecordChange, str]]:
        """The words that could not be made live and why, oldest first; those only that are tried again, if asked for."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT sequence, scope, key, value, reason FROM failed WHERE final <= ? ORDER BY sequence",
                (0 if tried_again else 1,),
            ).fetchall()
        return {
            (scope, key): (RecordChange(sequence, scope, key, None if value is None else json.loads(value)), reason)
            for sequence, scope, key, value, reason in rows
        }

    def digests(self, scopes: Iterable[str]) -> dict[str, dict[int, int]]:
        """The digests of each scope's buckets, as they would be if what has failed were live; empty ones left out."""
        found: dict[str, dict[int, int]] = {scope: {} for scope in scopes}
        with self._connection() as connection:
            for scope, bucket, number in connection.execute("SELECT scope, bucket, total FROM digest"):
                if scope in found:
                    found[scope][bucket] = number
        for word, _ in self.failed().values():
            if word.scope in found:
                bucket = bucket_of(word.key)
                held = self.value(word.scope, word.key)
                number = found[word.scope].get(bucket, 0) + weight(word.key, word.value) - weight(word.key, held)
                found[word.scope][bucket] = number % MODULUS
        return {scope: {bucket: number for bucket, number in each.items() if number} for scope, each in found.items()}

    def roots(self, scopes: Iterable[str]) -> dict[str, int]:
        """The digest of each scope."""
        return {scope: total(buckets) for scope, buckets in self.digests(scopes).items()}

    def begin(self, changes: Sequence[RecordChange], ahead: Iterable[RecordChange] = ()) -> None:
        """Write down what is about to be made live, with its inverse; an older journal of other keys stays.

        ahead: words that are live, or are about to be, before their turn: an older one of their keys is passed over.
        """
        held = self.held(changes)
        with self._connection() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO ahead (scope, key, sequence) VALUES (?, ?, ?)",
                [(change.scope, change.key, change.sequence) for change in ahead],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO journal (scope, key, value, inverse, sequence) VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        change.scope,
                        change.key,
                        None if change.value is None else json.dumps(change.value),
                        json.dumps(held[change.scope, change.key]) if (change.scope, change.key) in held else None,
                        change.sequence,
                    )
                    for change in changes
                ],
            )

    def end(self) -> None:
        """What the journal names is decided and written down."""
        with self._connection() as connection:
            connection.execute("DELETE FROM journal")
            connection.execute("DELETE FROM meta WHERE name = 'tries'")

    def unfinished(self) -> Unfinished | None:
        """What was being made live when the process ended; None when nothing was.  Asking counts as taking it up."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT scope, key, value, inverse, sequence FROM journal ORDER BY sequence, key"
            ).fetchall()
            if not rows:
                return None
            tries = int(self._read(connection, "tries") or 0) + 1
            self._set(connection, "tries", str(tries))
        words = [
            (scope, key, None if value is None else json.loads(value), None if old is None else json.loads(old), number)
            for scope, key, value, old, number in rows
        ]
        return Unfinished(
            tuple(RecordChange(number, scope, key, value) for scope, key, value, _, number in words),
            tuple(RecordChange(number, scope, key, old) for scope, key, _, old, number in words),
            tries,
        )

    def advance(self, sequence: int) -> None:
        """Everything up to this change has been dealt with; never goes back."""
        with self._connection() as connection:
            known = int(self._read(connection, "sequence") or 0)
            if sequence > known:
                self._set(connection, "sequence", str(sequence))
                connection.execute("DELETE FROM ahead WHERE sequence <= ?", (sequence,))

    def ahead(self) -> dict[RecordKey, int]:
        """The words that were made live before their turn: the sequence of each by its key."""
        with self._connection() as connection:
            rows = connection.execute("SELECT scope, key, sequence FROM ahead").fetchall()
        return {(scope, key): sequence for scope, key, sequence in rows}

    def not_ahead(self, keys: Iterable[RecordKey]) -> None:
        """These are to wait for their turn after all."""
        with self._connection() as connection:
            connection.executemany("DELETE FROM ahead WHERE scope = ? AND key = ?", list(keys))

    def _meta(self, name: str) -> str | None:
        with self._connection() as connection:
            return self._read(connection, name)

    def _read(self, connection: sqlite3.Connection, name: str) -> str | None:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, connection: sqlite3.Connection, name: str, value: str) -> None:
        connection.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    @contextmanager
    def _connection(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """This thread's connection, in a transaction; another one when the file is no longer the one it was opened on.

        durable: the transaction, and all before it, are on the disk at its end (SQLite's "PRAGMA synchronous", for WAL).
        """
        known: tuple[sqlite3.Connection, int] | None = getattr(self._mine, "connection", None)
        number = self._path.stat().st_ino if self._path.exists() else 0
        if known is None or known[1] != number:
            if known is not None:
                known[0].close()
            opened = sqlite3.connect(self._path, timeout=30)
            opened.execute("PRAGMA journal_mode = WAL")
            opened.executescript(_SCHEMA)
            known = self._mine.connection = (opened, self._path.stat().st_ino)
        known[0].execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        with known[0]:
            yield known[0]


def _add(connection: sqlite3.Connection, deltas: Mapping[tuple[str, int], int]) -> None:
    connection.executemany(
        "INSERT INTO digest (scope, bucket, total) VALUES (?, ?, ?)"
        " ON CONFLICT (scope, bucket) DO UPDATE SET total = (digest.total + excluded.total) % ?",
        [(scope, bucket, delta % MODULUS, MODULUS) for (scope, bucket), delta in deltas.items()],
    )


def _rebuild(connection: sqlite3.Connection) -> None:
    """Bring a file of an older version up to date: its scopes are whole, places and digests follow from the records."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'scopes'").fetchone()
    for scope in json.loads(row[0]) if row is not None else ():
        connection.execute("INSERT OR IGNORE INTO scope (name, next, as_of) VALUES (?, ?, NULL)", (scope, BUCKETS))
    for table in ("place", "digest"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    deltas: dict[tuple[str, int], int] = defaultdict(int)
    for scope, key, value in connection.execute("SELECT scope, key, value FROM record").fetchall():
        bucket = bucket_of(key)
        connection.execute("INSERT INTO place VALUES (?, ?, ?)", (scope, bucket, key))
        deltas[scope, bucket] += weight(key, json.loads(value))
    _add(connection, deltas)
