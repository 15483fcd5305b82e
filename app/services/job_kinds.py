"""What may be done in bulk: for each kind who may, how a batch is carried out, and how large it is.

A batch is one transaction of whole records: large enough that its fixed costs do not matter, small enough that somebody
else's change waits for one of them only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.services import bulk_machines, renumber_moves, reservations
from app.services.context import Context

Put = Callable[[Session, Context, Sequence[dict[str, Any]]], Sequence[int]]


@dataclass(frozen=True)
class JobKind:
    """One kind of bulk work. doing completes: 'you may not ...'; put carries a batch out and gives the ids it made.

    ready: whether the first batch may be carried out, by one of its items; until then the job waits.
    """

    name: str
    role: str
    doing: str
    batch: int
    put: Put
    ready: Callable[[Context, dict[str, Any]], bool] | None = None


def _reserve(session: Session, context: Context, items: Sequence[dict[str, Any]]) -> Sequence[int]:
    rows, _ = reservations.put_many(session, context, [reservations.Wanted(**item) for item in items])
    return [row.id for row in rows]


KINDS = {
    kind.name: kind
    for kind in (
        JobKind("machines.create", "operator", "add machines", 200, bulk_machines.put_many),
        JobKind("reservations.import", "operator", "reserve addresses", 250, _reserve),
        JobKind(
            renumber_moves.KIND, "admin", "renumber subnets", 200, renumber_moves.put_many, renumber_moves.is_served
        ),
    )
}
