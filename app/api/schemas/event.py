"""Events and the audit."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.services.events import LEVELS


class EventQuery(PageQuery):
    """Which events."""

    level = fields.String(load_default=None, validate=validate.OneOf(LEVELS))
    rack_id = fields.Integer(load_default=None)


class EventSchema(Schema):
    """Something that happened."""

    id = fields.Integer()
    machine_id = fields.Integer(allow_none=True)
    rack_id = fields.Integer(allow_none=True)
    level = fields.String()
    kind = fields.String()
    message = fields.String()
    detail = fields.Dict()
    request_id = fields.String(
        allow_none=True, metadata={"description": "the request that it came of; several are a space apart"}
    )
    at = fields.DateTime()


class ChangeSchema(Schema):
    """Who changed what."""

    id = fields.Integer()
    actor = fields.String()
    verb = fields.String()
    thing = fields.String()
    thing_id = fields.Integer(allow_none=True)
    detail = fields.Dict()
    request_id = fields.String(allow_none=True, metadata={"description": "as in X-Request-Id and in the log"})
    at = fields.DateTime()


class EventPage(Schema):
    """Events, oldest first."""

    items = fields.List(fields.Nested(EventSchema))
    next = fields.Integer(allow_none=True)


class ChangePage(Schema):
    """The audit, oldest first."""

    items = fields.List(fields.Nested(ChangeSchema))
    next = fields.Integer(allow_none=True)
