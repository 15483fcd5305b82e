"""Script results: kept whole, one row for each script of each run."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import aliased, defer

from app.services.context import Context
from app.services.errors import NotFound
from app.store.models import Machine, ScriptResult
from app.store.queries.page import page


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


def find(
    context: Context,
    machine_id: int,
    after: int = 0,
    limit: int = 100,
    *,
    operation_id: int | None = None,
    script: str | None = None,
    status: str | None = None,
    all_runs: bool = False,
) -> list[ScriptResult]:
    """A page of a machine's results in the order in which they came, without their output.

    They are those of the newest run, unless an operation is named or all runs are asked for.
    """
    context.require("viewer", "see results")
    statement = select(ScriptResult).options(defer(ScriptResult.stdout), defer(ScriptResult.stderr))
    statement = statement.where(ScriptResult.machine_id == machine_id)
    if operation_id is not None:
        statement = statement.where(ScriptResult.operation_id == operation_id)
    elif not all_runs:
        statement = statement.where(_of_newest_run(machine_id))
    if script is not None:
        statement = statement.where(ScriptResult.script == script)
    if status is not None:
        statement = statement.where(ScriptResult.status == status)
    with context.store.read() as session:
        return list(session.scalars(page(statement, ScriptResult.id, after, limit)))


def output(context: Context, machine_id: int, script: str, operation_id: int | None = None) -> ScriptResult:
    """A script's result with its output, of one run or of the newest. NotFound when it has none."""
    context.require("viewer", "see results")
    statement = select(ScriptResult).where(ScriptResult.machine_id == machine_id, ScriptResult.script == script)
    which = ScriptResult.operation_id == operation_id if operation_id is not None else _of_newest_run(machine_id)
    with context.store.read() as session:
        found = session.scalar(statement.where(which).order_by(ScriptResult.id.desc()).limit(1))
    if found is None:
        raise NotFound(
            f"machine {machine_id} has no result of a script named {script!r} in that run; list its results",
            field="script",
        )
    return found


def _of_newest_run(machine_id: int) -> ColumnElement[bool]:
    """Results of the run that said something last. A result of no operation belongs to a run of its own kind."""
    other = aliased(ScriptResult)
    newest = select(other.operation_id).where(other.machine_id == machine_id).order_by(other.id.desc()).limit(1)
    found = newest.scalar_subquery()
    return ScriptResult.operation_id.is_not_distinct_from(found)
