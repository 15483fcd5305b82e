"""A rack as far as records go, with no daemon to serve: its real store, keeper and flow."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.services import records, reports, retention, snapshots
from app.services.changes import changing, put_record
from app.services.context import Context
from app.store.models import Domain, RecordChange
from tests.factories.control import Seeded, clock_of, seed
from workers.rack.channels.bind import BindUpdater
from workers.rack.files import ServiceDirectories
from workers.rack.host_keeper import HostKeeper
from workers.rack.offer import Offer
from workers.rack.record_flow import COMPARE_SECONDS, RecordFlow
from workers.rack.record_store import RecordChange as Word
from workers.rack.record_store import RecordStore
from workers.rack.records import RecordKeeper
from workers.rack.secret_files import SecretFiles

SCOPES = ("zone:lab.muster", "zone:b.muster", "zone:c.muster")
OFFER = Offer(1, 1, (), (), {}, {}, {}, frozenset(), (), ())


class Died(Exception):
    """The process has ended here."""


class Wire:
    """The control plane as a rack calls it, without the wire; `fault` may end the process before or after a call.

    meanwhile: what others do to the control plane between two calls, one thing each.
    """

    def __init__(self, context: Context, rack_id: int, page: int) -> None:
        self.context, self.rack_id, self.page = context, rack_id, page
        self.fault: int | None = None
        self.asked: list[str] = []
        self.meanwhile: list[Callable[[], None]] = []

    def records(self, after: int, limit: int = 1000) -> dict[str, Any]:
        most = min(limit, self.page)
        return self._call("records", lambda: records.after(self.context, self.rack_id, after, most))

    def snapshot(self, scopes: dict[str, tuple[int, int]]) -> dict[str, Any]:
        return self._call(
            f"snapshot {' '.join(sorted(scopes))}",
            lambda: snapshots.read(self.context, self.rack_id, scopes, self.page),
        )

    def compare(self, sequence: int, roots: dict[str, int]) -> dict[str, Any]:
        return self._call("compare", lambda: snapshots.compare(self.context, self.rack_id, sequence, roots))

    def report_records(self, report: dict[str, Any]) -> None:
        self._call(
            "report",
            lambda: reports.records_applied(self.context, self.rack_id, report["applied"], report["failed"]),
        )

    def report_drift(self, drift: dict[str, Any]) -> None:
        self._call("drift", lambda: snapshots.drifted(self.context, self.rack_id, **drift))

    def _call(self, name: str, call: Callable[[], Any]) -> Any:
        self.asked.append(name)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if self.fault is not None:
            self.fault -= 1
            if self.fault < 0:
                raise Died(name)
        return call()


class Host:
    """One rack host: what outlives its process is the file."""

    def __init__(self, context: Context, rack_id: int, path: Path, page: int = 7) -> None:
        self.path, self.wire = path, Wire(context, rack_id, page)
        self.scopes = frozenset(SCOPES[:1])
        self.time = 0.0
        self.live: dict[tuple[str, str], int] = {}
        self.start()

    @property
    def offer(self) -> Offer:
        return replace(OFFER, scopes=self.scopes)

    def start(self) -> None:
        """A new process on the same file."""
        self.store = RecordStore(self.path / "records.db")
        directories = ServiceDirectories
        hosts = HostKeeper(
            self.store, lambda name: directories(self.path, name), SecretFiles(self.path), lambda name: False
        )
        keeper = RecordKeeper(self.store, hosts, lambda: BindUpdater("c2VjcmV0"), lambda name: False)
        self.flow = RecordFlow(keeper, self.wire, lambda name: False, lambda: self.time)  # type: ignore[arg-type]
        commit = self.store.commit

        def committed(changes: Iterable[Word]) -> None:
            """No key goes back to an older word."""
            words = list(changes)
            for word in words:
                assert word.sequence >= self.live.get((word.scope, word.key), 0), word
                self.live[word.scope, word.key] = word.sequence
            commit(words)

        self.store.commit = committed  # type: ignore[method-assign]

    def turn(self, fault: int | None = None) -> None:
        """Everything once; a fault ends the process, and another is started."""
        self.wire.fault = fault
        try:
            self.flow.take(self.offer)
        except Died:
            self.start()
        self.wire.fault = None

    def compare(self) -> None:
        """Compare digests now."""
        self.time += COMPARE_SECONDS
        self.flow.check(self.offer)

    def sql(self, statement: str, *values: Any) -> None:
        """Change the file behind everybody's back."""
        with closing(sqlite3.connect(self.path / "records.db")) as connection, connection:
            connection.execute(statement, values)


def make_zones(context: Context) -> Seeded:
    """The rack of `seed`, with two more zones."""
    seeded = seed(context)
    with context.store.write() as session:
        session.add_all([Domain(name="b.muster"), Domain(name="c.muster")])
    return seeded


def put(context: Context, scope: str, **words: int | None) -> None:
    """Several words in one transaction."""
    with changing(context) as session:
        for key, value in words.items():
            put_record(session, scope, key, None if value is None else {"n": value})


def forget(context: Context) -> None:
    """Two days later, everything is given up that may be."""
    clock_of(context).move(2 * 86400)
    retention.prune(context)


def standing(context: Context, scope: str) -> dict[str, dict[str, Any]]:
    """The newest word on every key, by a plain walk over the log."""
    with context.store.read() as session:
        rows = session.scalars(select(RecordChange).where(RecordChange.scope == scope).order_by(RecordChange.sequence))
        words = {row.key: row.value for row in rows}
    return {key: value for key, value in words.items() if value is not None}
