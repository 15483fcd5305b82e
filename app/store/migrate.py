"""Brings a database to the schema that this version needs, step by step; safe to repeat and to run from two processes.

No configuration file: the steps are found in the package `migrations`, the connection is ours.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from app.store.models import Base, ListChange
from app.store.models.listing import are_whole, put_triggers
from app.store.unit_of_work import make_engine

LOCK_NUMBER = 7_305_226_113


class MigrationsMissing(RuntimeError):
    """The package `migrations` is not installed."""


def upgrade(url: str, revision: str = "head") -> str:
    """Bring the database at `url` up to `revision`; the revision it has then."""

    def run(connection: Connection, config: Config) -> None:
        command.upgrade(config, revision)
        # A step that alters a table of SQLite by copying it loses them.  On PostgreSQL even to make one again that is
        # there waits for all who write the table, and whoever starts a second control plane comes by here.
        if inspect(connection).has_table(ListChange.__tablename__) and not are_whole(connection):
            put_triggers(connection)

    return _with_engine(url, run)


def downgrade(url: str, revision: str) -> str:
    """Take steps back to `revision` (`base` for none); the revision it has then."""
    return _with_engine(url, lambda connection, config: command.downgrade(config, revision))


def current(engine: Engine) -> str | None:
    """The revision a database has; None for one that was never migrated."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The revision that this version of Muster needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def differences(connection: Connection) -> list[object]:
    """How a database's schema differs from the models; empty when it is right."""
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


def make_revision(url: str, message: str, name: str) -> Path:
    """Write a step from the difference between the database at `url` and the models, to be read and corrected by hand."""
    with _engine(url).connect() as connection:
        config = _config(connection)
        script = command.revision(config, message, autogenerate=True, rev_id=name)
    return Path(str(getattr(script, "path", "")))


def _with_engine(url: str, run: Callable[[Connection, Config], None]) -> str:
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                # Copying a table would otherwise delete what points at it; inside a transaction the pragma is ignored.
                connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
            _lock(connection)
            run(connection, _config(connection))
            connection.commit()
            return str(MigrationContext.configure(connection).get_current_revision())
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return make_engine(url)


def _lock(connection: Connection) -> None:
    """Let one process migrate at a time. SQLite's write lock is taken when the transaction begins."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})


def _config(connection: Connection | None = None) -> Config:
    spec = importlib.util.find_spec("migrations")
    if spec is None or spec.origin is None:
        raise MigrationsMissing("the package `migrations` is not installed beside `app`; install Muster whole")
    config = Config()
    config.set_main_option("script_location", str(Path(spec.origin).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
