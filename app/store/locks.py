"""Named locks that last as long as the transaction that takes them."""

from __future__ import annotations

import hashlib

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

_WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'"
    " AND relation = CAST(:table AS regclass)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def hold(session: Session, name: str) -> None:
    """Wait for the lock `name` and keep it until the transaction ends.

    PostgreSQL: a transaction advisory lock on 63 bits of the name's hash.  SQLite: nothing to do, a write transaction
    holds the only write lock from its start.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_number(name))))


def try_hold(session: Session, name: str) -> bool:
    """Take the lock `name` until the transaction ends, if nobody has it; whether it was taken."""
    if session.get_bind().dialect.name == "postgresql":
        return bool(session.scalar(select(func.pg_try_advisory_xact_lock(_number(name)))))
    return True


def writers(session: Session, table: str) -> frozenset[str]:
    """Transactions that may have written rows of `table` and have not ended: their virtual transaction ids.

    PostgreSQL: whoever holds ROW EXCLUSIVE on it.  INSERT takes that lock before it draws a number from the table's
    sequence (manual, section 13.3.1) and gives it back after its rows have become visible, so who is not listed has
    no row that may still appear.  A virtual transaction id is never used again.  SQLite: nobody, because writers follow
    one another and a number that was drawn earlier is committed earlier.
    """
    if session.get_bind().dialect.name != "postgresql":
        return frozenset()
    return frozenset(session.scalars(_WRITERS, {"table": table}))


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
