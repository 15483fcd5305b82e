"""What no column can hold, whatever the driver says of it."""

from __future__ import annotations

from sqlalchemy.exc import DataError


class Unstorable(Exception):
    """A value that the database cannot hold: a NUL character, half a surrogate pair, a number too large for its column."""

    def __init__(self) -> None:
        super().__init__("a value holds a character or a number that the database cannot keep")


def is_unstorable(raised: BaseException | None, told: BaseException | None) -> bool:
    """Whether this is about a value. raised: by the driver; told: what SQLAlchemy makes of it.

    psycopg2 raises ValueError for a NUL in text and DataError for what the server refuses; sqlite3 OverflowError.
    """
    return isinstance(raised, (ValueError, OverflowError)) or isinstance(told, DataError)
