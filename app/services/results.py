"""Script results: kept whole, one row for each script of each run."""

from __future__ import annotations

from sqlalchemy import select

from app.services.context import Context
from app.services.errors import NotFound
from app.store.models import Machine, ScriptResult


def for_machine(context: Context, machine_id: int, operation_id: int | None = None) -> list[ScriptResult]:
    """The results of one run (by default the newest that has any), in the order in which they came."""
    with context.store.read() as session:
        if session.get(Machine, machine_id) is None:
            raise NotFound(f"machine {machine_id}: there is no such machine; look at the list of machines")
        if operation_id is None:
            newest = select(ScriptResult.operation_id).where(ScriptResult.machine_id == machine_id)
            operation_id = session.scalar(newest.order_by(ScriptResult.id.desc()).limit(1))
        statement = select(ScriptResult).where(
            ScriptResult.machine_id == machine_id, ScriptResult.operation_id == operation_id
        )
        return list(session.scalars(statement.order_by(ScriptResult.id)))
