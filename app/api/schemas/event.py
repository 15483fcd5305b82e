"""Events and the audit."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Id
from app.services.events import LEVELS


class MachineEventQuery(PageQuery):
    """Which events of a machine."""

    level = fields.String(validate=validate.OneOf(LEVELS), metadata={"description": "this one or a graver one"})
    kind = fields.String(metadata={"description": "as in machine.state"})
    text = fields.String(metadata={"description": "part of the message"})
    since = fields.AwareDateTime(metadata={"description": "at this moment or later"})
    until = fields.AwareDateTime(metadata={"description": "at this moment or earlier"})


class EventQuery(MachineEventQuery):
    """Which events of all."""

    machine = fields.String(metadata={"description": "id or hostname"})
    rack_id = Id()


class ChangeQuery(PageQuery):
    """Which changes of the audit."""

    actor = fields.String(metadata={"description": "name of who did it"})
    verb = fields.String()
    thing = fields.String(metadata={"description": "kind of thing, as in machine"})
    thing_id = Id()
    request_id = fields.String(metadata={"description": "as in X-Request-Id"})
    since = fields.AwareDateTime(metadata={"description": "at this moment or later"})
    until = fields.AwareDateTime(metadata={"description": "at this moment or earlier"})


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
