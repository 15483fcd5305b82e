"""The shape of a refusal."""

from __future__ import annotations

from marshmallow import Schema, fields


class ProblemSchema(Schema):
    """RFC 9457 problem details."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String(metadata={"description": "a whole sentence for people"})
    field = fields.String(metadata={"description": "the input that was wrong"})
    rule = fields.String(metadata={"description": "the rule that was broken"})
    remedy = fields.String(metadata={"description": "what to do"})
    request_id = fields.String(metadata={"description": "find it in the log"})
    errors = fields.Dict(metadata={"description": "all wrong inputs, when the shape was wrong"})
