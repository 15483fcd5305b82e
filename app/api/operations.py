"""Operations: what is under way on machines, and what was."""

from __future__ import annotations

from typing import Any

from app.api.frame import Resource, allow, page
from app.api.schemas.operation import MachineOperationQuery, OperationPage, OperationQuery, OperationSchema
from app.identity import current_context
from app.services import machines, operations

blueprint = Resource("operations", "Operations under way and past")


@blueprint.get("/operations")
@allow("viewer", "list operations")
@blueprint.arguments(OperationQuery, location="query")
@blueprint.response(200, OperationPage)
def index(query: dict[str, Any]) -> Any:
    """Operations of all machines, newest first."""
    context = current_context()
    machine = query.pop("machine", None)
    machine_id = machines.identify(context, machine) if machine else None
    return page(operations.find(context, machine_id=machine_id, **query), query["limit"])


@blueprint.get("/operations/<int:operation_id>")
@allow("viewer", "see operations")
@blueprint.shows(OperationSchema)
def show(operation_id: int) -> Any:
    """See an operation."""
    return operations.get(current_context(), operation_id)


@blueprint.get("/machines/<string:machine>/operations")
@allow("viewer", "see operations")
@blueprint.arguments(MachineOperationQuery, location="query")
@blueprint.response(200, OperationPage)
def of_machine(query: dict[str, Any], machine: str) -> Any:
    """A machine's operations, newest first."""
    context = current_context()
    found = operations.find(context, machine_id=machines.identify(context, machine), **query)
    return page(found, query["limit"])
