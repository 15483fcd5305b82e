"""Neighbours."""

from __future__ import annotations

from marshmallow import Schema, fields

from app.api.frame import PageQuery
from app.api.schemas.strict import Id


class NeighbourQuery(PageQuery):
    """Which neighbours."""

    rack_id = Id()
    subnet_id = Id()
    interface = fields.String()
    address = fields.String()
    mac = fields.String()
    seen_since = fields.AwareDateTime(metadata={"description": "seen at this moment or later"})


class NeighbourSchema(Schema):
    """An address that a rack has seen in use."""

    id = fields.Integer()
    rack_id = fields.Integer()
    interface = fields.String(metadata={"description": "the rack's"})
    subnet_id = fields.Integer(allow_none=True)
    address = fields.String()
    mac = fields.String()
    first_seen_at = fields.DateTime()
    seen_at = fields.DateTime()


class NeighbourPage(Schema):
    """Neighbours."""

    items = fields.List(fields.Nested(NeighbourSchema))
    next = fields.Integer(allow_none=True)
