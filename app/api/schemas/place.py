"""Zones, pools and tags."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery


class PlaceQuery(PageQuery):
    """Which of them."""

    name = fields.String()
    text = fields.String(metadata={"description": "part of the name"})


class PlaceSchema(Schema):
    """A zone, pool or tag."""

    id = fields.Integer(dump_only=True)
    name = fields.String()
    note = fields.String()
    machines = fields.Integer(metadata={"description": "number of its machines"})


class NewPlaceSchema(Schema):
    """A zone, pool or tag to be."""

    name = fields.String(required=True, validate=validate.Length(max=200))
    note = fields.String(load_default="", validate=validate.Length(max=1000))


class PlaceChangeSchema(Schema):
    """What may change of it."""

    name = fields.String(validate=validate.Length(max=200))
    note = fields.String(validate=validate.Length(max=1000))


class PlacePage(Schema):
    """Zones, pools or tags."""

    items = fields.List(fields.Nested(PlaceSchema))
    next = fields.Integer(allow_none=True)
