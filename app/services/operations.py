"""Operations by their own number, for whoever follows one."""

from __future__ import annotations

from app.services.context import Context
from app.services.errors import NotFound
from app.store.models import Operation


def get(context: Context, operation_id: int) -> Operation:
    """One operation."""
    context.require("viewer", "see operations")
    with context.store.read() as session:
        found = session.get(Operation, operation_id)
    if found is None:
        raise NotFound(f"operation {operation_id} does not exist")
    return found
