"""How far a change has come."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import Resource, SparseQuery, allow
from app.api.schemas.strict import LARGEST
from app.identity import current_context
from app.services import arrival
from app.services.errors import Invalid


class ChangeQuery(SparseQuery):
    """Which generations beside the records."""

    generations = fields.String(
        load_default="",
        validate=validate.Regexp(r"^([0-9]{1,9}:[0-9]{1,9}(,[0-9]{1,9}:[0-9]{1,9}){0,999})?$"),
        metadata={"description": "the header Muster-Generations of the change's answer", "example": "1:1"},
    )


class MissingSchema(Schema):
    """A rack that does not serve a change yet."""

    rack_id = fields.Integer()
    rack = fields.String()
    what = fields.String(metadata={"description": "what it lacks"})
    away = fields.Boolean(metadata={"description": "it was not heard of for 90 s, and is not waited for"})


class RecordApplySchema(Schema):
    """How a rack made a batch of records live."""

    rack_id = fields.Integer()
    sequence = fields.Integer(metadata={"description": "the last of the batch"})
    count = fields.Integer()
    failed = fields.Integer()
    seconds = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        metadata={
            "description": "request (asked to committed), wake (committed to fetched), fetch, daemon, check, report, total"
        },
    )
    request_id = fields.String(allow_none=True)
    at = fields.DateTime()


class ArrivalSchema(Schema):
    """How far a change has come."""

    sequence = fields.Integer()
    live = fields.Boolean(metadata={"description": "whether every rack concerned serves it"})
    failure = fields.String(allow_none=True, metadata={"description": "why a rack could not apply one of its records"})
    missing = fields.List(fields.Nested(MissingSchema))
    applies = fields.List(fields.Nested(RecordApplySchema))


blueprint = Resource("changes", "How far changes have come on the racks")


@blueprint.get("/changes/<int:sequence>")
@allow("viewer", "see how far a change has come")
@blueprint.arguments(ChangeQuery, location="query")
@blueprint.response(200, ArrivalSchema)
def show(query: dict[str, Any], sequence: int) -> Any:
    """See how far a change has come: the sequence is `Muster-Sequence` of its answer, 0 when it had none."""
    if sequence > LARGEST:
        raise Invalid(f"sequence {sequence} is too large", field="sequence")
    pairs = [pair.split(":") for pair in query["generations"].split(",") if pair]
    generations = {int(rack): int(generation) for rack, generation in pairs}
    return arrival.of_change(current_context(), sequence, generations)
