"""DHCP servers that are not ours."""

from __future__ import annotations

from marshmallow import Schema, fields

from app.api.frame import PageQuery
from app.api.schemas.strict import Id


class ForeignDhcpQuery(PageQuery):
    """Which of them."""

    rack_id = Id()
    vlan_id = Id()


class ForeignDhcpSchema(Schema):
    """A DHCP server that a rack hears and that is none of ours."""

    id = fields.Integer()
    rack_id = fields.Integer()
    interface = fields.String(metadata={"description": "the rack's"})
    vlan_id = fields.Integer(allow_none=True)
    server = fields.String(metadata={"description": "its server identifier (RFC 2132, section 9.7)"})
    mac = fields.String(metadata={"description": "where its answer came from"})
    offered = fields.String(metadata={"description": "the address that it offered last"})
    first_seen_at = fields.DateTime()
    seen_at = fields.DateTime()


class ForeignDhcpPage(Schema):
    """Foreign DHCP servers."""

    items = fields.List(fields.Nested(ForeignDhcpSchema))
    next = fields.Integer(allow_none=True)
