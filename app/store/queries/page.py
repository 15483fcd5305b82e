"""Keyset pages: a list is read in the order of ids (or against it), from after the last id that the reader has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

LARGEST_PAGE = 500


def page(
    statement: Select[Any], identity: InstrumentedAttribute[int], after: int | None, limit: int | None
) -> Select[Any]:
    """The statement, ordered by `identity`, beginning after `after`, with 1 to 500 rows."""
    if after is not None:
        statement = statement.where(identity > after)
    return statement.order_by(identity).limit(max(1, min(limit or LARGEST_PAGE, LARGEST_PAGE)))


def newest(
    statement: Select[Any], identity: InstrumentedAttribute[int], after: int | None, limit: int | None
) -> Select[Any]:
    """The statement, newest row first, going on below `after` (None and 0: from the newest), with 1 to 500 rows."""
    if after:
        statement = statement.where(identity < after)
    return statement.order_by(identity.desc()).limit(max(1, min(limit or LARGEST_PAGE, LARGEST_PAGE)))
