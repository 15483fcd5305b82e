"""Leases."""

from __future__ import annotations

from marshmallow import Schema, fields

from app.api.frame import PageQuery
from app.api.schemas.strict import Id


class LeaseQuery(PageQuery):
    """Which leases."""

    rack_id = Id()
    subnet_id = Id()
    address = fields.String()
    mac = fields.String()
    hostname = fields.String(metadata={"description": "as the client calls itself"})


class LeaseSchema(Schema):
    """An address that a rack's DHCP server says it has handed out."""

    id = fields.Integer()
    rack_id = fields.Integer(metadata={"description": "whose server it was; each of a pair tells the leases of both"})
    subnet_id = fields.Integer()
    address = fields.String()
    mac = fields.String(allow_none=True)
    duid = fields.String(allow_none=True, metadata={"description": "the client's, in DHCPv6 (RFC 8415)"})
    hostname = fields.String(allow_none=True, metadata={"description": "as the client calls itself"})
    name = fields.String(allow_none=True, metadata={"description": "in the domain of its subnet; none when it has one"})
    started_at = fields.DateTime()
    expires_at = fields.DateTime()


class LeasePage(Schema):
    """Leases."""

    items = fields.List(fields.Nested(LeaseSchema))
    next = fields.Integer(allow_none=True)
