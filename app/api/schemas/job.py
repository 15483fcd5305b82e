"""The shapes of bulk work."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.services.jobs import STATUSES


class JobErrorSchema(Schema):
    """An item that was refused."""

    index = fields.Integer(metadata={"description": "its place in the request, from 0"})
    field = fields.String(allow_none=True)
    detail = fields.String()


class JobSchema(Schema):
    """Bulk work and how far it is."""

    id = fields.Integer()
    kind = fields.String()
    status = fields.String(validate=validate.OneOf(STATUSES))
    total = fields.Integer()
    done = fields.Integer(metadata={"description": "items dealt with, refused ones too"})
    failed = fields.Integer(metadata={"description": "items refused"})
    errors = fields.List(fields.Nested(JobErrorSchema), metadata={"description": "the first refusals"})
    actor = fields.String()
    request_id = fields.String(allow_none=True)
    created_at = fields.DateTime()
    started_at = fields.DateTime(allow_none=True)
    finished_at = fields.DateTime(allow_none=True)
