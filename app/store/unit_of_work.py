"""Transactions: where they begin and end, on SQLite and PostgreSQL alike.

`Store.write()` is one transaction with the write lock taken at its start on SQLite (BEGIN IMMEDIATE, busy_timeout), so
that a read followed by a write cannot fail half-way.  `Store.read()` is one snapshot (explicit BEGIN on SQLite;
REPEATABLE READ, read only, on PostgreSQL).  Functions given to `after_commit` run only when the commit succeeded.

Errors of the database never show the values of a statement (they may be secrets), and a value that no column can hold
is `Unstorable`, whatever the driver says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session

from app.store.prepared import LINE, Line, Prepared
from app.store.unstorable import Unstorable, is_unstorable

__all__ = ["JoinedStore", "Store", "Unstorable", "after_commit", "make_engine"]
AFTER_COMMIT = "after_commit"
WAIT_MILLISECONDS = 15_000
USED, IDLE_SECONDS = "muster.used", 1.0
"""In the notes of a driver's connection: when it was given back.  One that was just used is not tried before the next use."""


def make_engine(url: str) -> Engine:
    """An engine for `sqlite:///path` or `postgresql+psycopg2://...`, set up for the promises of this module."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        timeout = {"timeout": WAIT_MILLISECONDS / 1000, "check_same_thread": False}
        engine = create_engine(parsed, connect_args=timeout, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(parsed, pool_size=10, max_overflow=20, hide_parameters=True)
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "checkout", _try_idle)
        event.listen(engine, "checkin", _note_use)
    event.listen(engine, "handle_error", _name_unstorable)
    return engine


def _name_unstorable(context: ExceptionContext) -> None:
    if is_unstorable(context.original_exception, context.sqlalchemy_exception):
        raise Unstorable from None


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below; the driver's implicit one comes too late.
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {WAIT_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _prepare_postgresql(connection: Any, record: Any) -> None:
    """Plan what is kept (`app.store.prepared`) once, for any values; nothing else of ours has parameters on the server."""
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")
    connection.commit()


def _note_use(connection: Any, record: Any) -> None:
    record.info[USED] = time.monotonic()


def _try_idle(connection: Any, record: Any, proxy: Any) -> None:
    """A connection that nobody used for a while may have been lost meanwhile: then the pool's others are as well."""
    if time.monotonic() - record.info.get(USED, 0.0) < IDLE_SECONDS:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except Exception as error:  # Whatever the driver calls it.
        raise InvalidatePoolError from error


def _begin_sqlite(connection: Any) -> None:
    reads = connection.get_execution_options().get("muster_mode") == "read"
    Line(connection).execute("BEGIN" if reads else "BEGIN IMMEDIATE").close()


class Store:
    """Opens units of work on one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One read-write transaction: committed at the end, rolled back on any exception."""
        with Session(self.engine, expire_on_commit=False) as session:
            session.info[LINE] = Line(session.connection())  # On SQLite it begins here, and so with the lock.
            try:
                yield session
                del session.info[LINE]
                session.commit()
            except BaseException:
                session.info.pop(LINE, None)
                session.rollback()
                raise
            for call in session.info.pop(AFTER_COMMIT, []):
                call()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent snapshot; nothing written in it is kept."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            options: dict[str, Any] = {"muster_mode": "read"}
            if self.engine.dialect.name == "postgresql":
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            session.info[LINE] = Line(session.connection(execution_options=options))
            try:
                yield session
            finally:
                del session.info[LINE]
                session.expunge_all()  # A rollback expires what is attached; callers keep what they have loaded.
                session.rollback()

    def row(self, statement: Prepared, **parameters: Any) -> Any | None:
        """The first row of one reading statement, which is a snapshot by itself; None when there is none."""
        with self.engine.connect() as connection:
            return statement.first_on(Line(connection), parameters)


class JoinedStore(Store):
    """Units of work that are part of one that is open: nothing is committed or taken back by itself."""

    def __init__(self, store: Store, session: Session) -> None:
        super().__init__(store.engine)
        self._session = session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """The open transaction; what is written is there for whoever asks next, and committed with the whole."""
        yield self._session
        self._session.flush()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """The open transaction, with what was written in it so far."""
        self._session.flush()
        yield self._session

    def row(self, statement: Prepared, **parameters: Any) -> Any | None:
        """The first row of one reading statement."""
        return statement.first(self._session, **parameters)


def after_commit(session: Session, call: Callable[[], None]) -> None:
    """Have `call` run once the surrounding `Store.write()` has committed."""
    session.info.setdefault(AFTER_COMMIT, []).append(call)
