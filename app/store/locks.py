"""Named locks that last as long as the transaction that takes them."""

from __future__ import annotations

import hashlib

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def hold(session: Session, name: str) -> None:
    """Wait for the lock `name` and keep it until the transaction ends.

    PostgreSQL: a transaction advisory lock on 63 bits of the name's hash.  SQLite: nothing to do, a write transaction
    holds the only write lock from its start.
    """
    if session.get_bind().dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
        session.execute(select(func.pg_advisory_xact_lock(number)))
