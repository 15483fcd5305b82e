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
        session.execute(select(func.pg_advisory_xact_lock(_number(name))))


def try_hold(session: Session, name: str) -> bool:
    """Take the lock `name` until the transaction ends, if nobody has it; whether it was taken."""
    if session.get_bind().dialect.name == "postgresql":
        return bool(session.scalar(select(func.pg_try_advisory_xact_lock(_number(name)))))
    return True


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
