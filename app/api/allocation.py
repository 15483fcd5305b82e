"""Drawing a machine from the pool by what it is."""

from __future__ import annotations

from typing import Any

from app.api.answers import Written
from app.api.frame import Resource, allow
from app.api.schemas.machine import ConstraintsSchema, MachineSchema
from app.identity import current_context
from app.services import allocation
from app.services.allocation import Constraints

blueprint = Resource("allocation", "Drawing machines from the pool")


@blueprint.post("/machines/allocate")
@allow("operator", "allocate machines")
@blueprint.arguments(ConstraintsSchema, required=False)
@blueprint.response(200, MachineSchema)
def allocate(body: dict[str, Any]) -> Any:
    """Allocate the smallest Ready machine that serves; 409 says which constraint left none.

    With an Idempotency-Key a repeated request gives the same machine, never a second one.
    """
    tags, not_tags = tuple(body.pop("tags", ())), tuple(body.pop("not_tags", ()))
    given = allocation.allocate(current_context(), Constraints(tags=tags, not_tags=not_tags, **body))
    return Written(given.text, shown_version=str(given.machine.version))
