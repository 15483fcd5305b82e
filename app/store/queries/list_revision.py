"""How far the tables that the list of machines shows have changed, as one number."""

from __future__ import annotations

from sqlalchemy import func, select, text

from app.store.models import ListChange
from app.store.models.listing import are_whole
from app.store.prepared import Prepared
from app.store.unit_of_work import Store

FOLDED_ABOVE = 100
_SUM = Prepared(select(func.coalesce(func.sum(ListChange.n), 0).label("n")))
_FOLD = text(
    "WITH gone AS (DELETE FROM list_change RETURNING n)"
    " INSERT INTO list_change (n) SELECT CAST(coalesce(sum(n), 0) AS bigint) FROM gone"
)


def read(store: Store) -> int:
    """A number that is another one after every change that is committed. One statement."""
    row = store.row(_SUM)
    return 0 if row is None else int(row[0])


def is_kept(store: Store) -> bool:
    """Whether the database keeps the number: all triggers are there."""
    with store.engine.connect() as connection:
        return are_whole(connection)


def fold(store: Store) -> int:
    """Put the parts of the sum together, where they have become many; how many there were. The sum stays."""
    if store.engine.dialect.name != "postgresql":
        return 1
    with store.write() as session:
        parts = session.scalar(select(func.count()).select_from(ListChange)) or 0
        if parts > FOLDED_ABOVE:
            session.execute(_FOLD)
        return parts
