"""The rack's own copy of its records: what Kea and BIND are refilled from when they lost theirs.

One SQLite file; it holds the present value of each key and the value before it (the inverse), the scopes that were asked
for and the sequence up to which changes are live.  It can be rebuilt from the control plane by deleting it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
  scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, inverse TEXT, sequence INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_address ON record (scope, json_extract(value, '$.address'));
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class RecordChange:
    """One key and what it should hold; None means that it should not exist. request_id: for the log."""

    sequence: int
    scope: str
    key: str
    value: dict[str, Any] | None
    request_id: str | None = None


class RecordStore:
    """Records by scope and key.  Every method opens the file for itself, so threads may share the object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)
        path.chmod(0o600)

    @property
    def sequence(self) -> int:
        """Everything up to this change has been dealt with."""
        return int(self._meta("sequence") or 0)

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes whose records are kept."""
        return frozenset(json.loads(self._meta("scopes") or "[]"))

    def serve_scopes(self, scopes: frozenset[str]) -> bool:
        """Keep these scopes from now on; True if one is new, and then everything must be fetched from the beginning."""
        known = self.scopes
        if scopes == known:
            return False
        new = bool(scopes - known)
        with self._connection() as connection:
            connection.executemany("DELETE FROM record WHERE scope = ?", [(scope,) for scope in known - scopes])
            self._set(connection, "scopes", json.dumps(sorted(scopes)))
            if new:
                self._set(connection, "sequence", "0")
        return new

    def value(self, scope: str, key: str) -> dict[str, Any] | None:
        """What a key holds, None if nothing."""
        with self._connection() as connection:
            row = connection.execute("SELECT value FROM record WHERE scope = ? AND key = ?", (scope, key)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def values(self, scope: str, prefix: str = "") -> dict[str, dict[str, Any]]:
        """All keys of a scope, or those that begin with a prefix."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT key, value FROM record WHERE scope = ? AND key >= ? AND key < ? ORDER BY key",
                (scope, prefix, f"{prefix}\U0010ffff"),
            ).fetchall()
        return {key: json.loads(value) for key, value in rows}

    def holding(self, scope: str, address: str) -> dict[str, dict[str, Any]]:
        """The keys of a scope whose value holds an address; found by index, at any size."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT key, value FROM record WHERE scope = ? AND json_extract(value, '$.address') = ?",
                (scope, address),
            ).fetchall()
        return {key: json.loads(value) for key, value in rows}

    def commit(self, changes: Iterable[RecordChange]) -> None:
        """Remember what is live now."""
        with self._connection() as connection:
            for change in changes:
                where = (change.scope, change.key)
                if change.value is None:
                    connection.execute("DELETE FROM record WHERE scope = ? AND key = ?", where)
                    continue
                connection.execute(
                    "INSERT INTO record (scope, key, value, inverse, sequence) VALUES (?, ?, ?, NULL, ?)"
                    " ON CONFLICT (scope, key) DO UPDATE SET"
                    " inverse = CASE WHEN record.value = excluded.value THEN record.inverse ELSE record.value END, value = excluded.value,"
                    " sequence = excluded.sequence",
                    (*where, json.dumps(change.value, sort_keys=True), change.sequence),
                )

    def advance(self, sequence: int) -> None:
        """Everything up to this change has been dealt with; never goes back."""
        with self._connection() as connection:
            self._set(connection, "sequence", str(max(sequence, self.sequence)))

    def _meta(self, name: str) -> str | None:
        with self._connection() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, connection: sqlite3.Connection, name: str, value: str) -> None:
        connection.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30)) as connection, connection:
            yield connection
