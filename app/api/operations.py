"""Operations: what is under way on a machine, and what was."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import Resource, allow
from app.api.schemas.operation import OperationPage, OperationSchema
from app.identity import current_context
from app.services import lifecycle, machines, operations

blueprint = Resource("operations", "Operations under way and past")


class NewestQuery(Schema):
    """How many."""

    limit = fields.Integer(load_default=20, validate=validate.Range(min=1, max=500))


@blueprint.get("/operations/<int:operation_id>")
@allow("viewer", "see operations")
@blueprint.response(200, OperationSchema)
def show(operation_id: int) -> Any:
    """See an operation."""
    return operations.get(current_context(), operation_id)


@blueprint.get("/machines/<string:machine>/operations")
@allow("viewer", "see operations")
@blueprint.arguments(NewestQuery, location="query")
@blueprint.response(200, OperationPage)
def of_machine(query: dict[str, Any], machine: str) -> Any:
    """A machine's operations, newest first."""
    context = current_context()
    found = lifecycle.operations(context, machines.get(context, machine).id, query["limit"])
    return {"items": found, "next": None}
