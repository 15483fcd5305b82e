"""What the database refuses, whatever the driver says of it: a value that no column can hold, a reference to what is gone, all."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

FOREIGN_KEY_VIOLATION = "23503"
"""PostgreSQL's manual, appendix A."""
UNREACHABLE = (OperationalError, InterfaceError, PoolTimeout)
"""What is raised when the database is away, starts anew, is full, locked for too long, or asked by too many at once."""


class Unstorable(Exception):
    """A value that the database cannot hold: a NUL character, half a surrogate pair, a number too large for its column."""

    def __init__(self) -> None:
        super().__init__("a value holds a character or a number that the database cannot keep")


def is_unstorable(raised: BaseException | None, told: BaseException | None) -> bool:
    """Whether this is about a value. raised: by the driver; told: what SQLAlchemy makes of it.

    psycopg2 raises ValueError for a NUL in text and DataError for what the server refuses; sqlite3 OverflowError.
    """
    return isinstance(raised, (ValueError, OverflowError)) or isinstance(told, DataError)


def is_dangling(error: IntegrityError) -> bool:
    """Whether the database refuses this because it refers to a row that is not there (any more), or is referred to."""
    if isinstance(error.orig, sqlite3.IntegrityError):
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
    return getattr(error.orig, "pgcode", None) == FOREIGN_KEY_VIOLATION
