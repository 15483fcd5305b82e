"""What tells that a list may have changed: a sum that grows with every change of the tables that the list shows.

The database adds to it itself, by triggers, whoever changes a row and how.  On PostgreSQL each statement inserts a row, so
that writers never wait for each other, and the sum of the rows that a snapshot sees says exactly which changes it sees:
one that is committed late adds to it late, which the highest number of a sequence would not.  On SQLite, where writers
follow one another, one row grows.  What is added is partly random, so that a database that was put back to an earlier
state does not come to the same sum again by other changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, event, text
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, LongKey

SHOWN = ("bmc", "domain", "interface", "ip_address", "machine", "machine_tag", "pool", "tag", "user", "zone")
"""The tables that the list of machines shows or is chosen by."""
STEPS = 2**20
"""What is added is 1 to this: eight million million changes fit into the sum."""


class ListChange(Base):
    """A part of the sum. SQLite has one row, number 1."""

    __tablename__ = "list_change"

    id: Mapped[LongKey]
    n: Mapped[int] = mapped_column(BigInteger)


def put_triggers(connection: Connection, tables: Sequence[str] = SHOWN) -> None:
    """Make the triggers of these tables that are not there."""
    for statement in _WAYS[connection.dialect.name](tables):
        connection.execute(text(statement))


def drop_triggers(connection: Connection) -> None:
    """Take them away."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP FUNCTION IF EXISTS list_changed() CASCADE"))
        return
    for table in SHOWN:
        for verb in _VERBS:
            connection.execute(text(f"DROP TRIGGER IF EXISTS list_changed_{table}_{verb.lower()}"))


def are_whole(connection: Connection) -> bool:
    """Whether every table has its triggers; SQLite loses those of a table that is altered by copying it."""
    if connection.dialect.name == "postgresql":
        found = connection.scalar(
            text(
                "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
                " WHERE t.tgname = 'list_changed' AND t.tgenabled IN ('O', 'A') AND pg_table_is_visible(c.oid)"
            )
        )
        return bool(found == len(SHOWN))
    names = connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all()
    wanted = {f"list_changed_{table}_{verb.lower()}" for table in SHOWN for verb in _VERBS}
    return wanted <= set(names)


_VERBS = ("INSERT", "UPDATE", "DELETE")


def _postgresql(tables: Sequence[str]) -> list[str]:
    function = (
        "CREATE OR REPLACE FUNCTION list_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"  # noqa: S608 - of this module's constants
        f" INSERT INTO list_change (n) VALUES (1 + floor(random() * {STEPS})); RETURN NULL; END $$"
    )
    return [
        function,
        *(
            f'CREATE OR REPLACE TRIGGER list_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "{table}"'
            " FOR EACH STATEMENT EXECUTE FUNCTION list_changed()"
            for table in tables
        ),
    ]


def _sqlite(tables: Sequence[str]) -> list[str]:
    first = "INSERT INTO list_change (id, n) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM list_change)"
    return [
        first,
        *(
            f'CREATE TRIGGER IF NOT EXISTS list_changed_{table}_{verb.lower()} AFTER {verb} ON "{table}" BEGIN'  # noqa: S608 - of constants
            f" UPDATE list_change SET n = n + 1 + abs(random() % {STEPS}); END"
            for table in tables
            for verb in _VERBS
        ),
    ]


_WAYS = {"postgresql": _postgresql, "sqlite": _sqlite}


@event.listens_for(Base.metadata, "after_create")
def _with_tables(target: Any, connection: Connection, **words: Any) -> None:
    put_triggers(connection)
