"""Domains; and what schemas of the network share."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Integer
from app.services import domains

Word = validate.Length(min=1, max=253)
Ttl = validate.Range(*domains.TTL_SECONDS)


class NamedQuery(PageQuery):
    """The one of a name."""

    name = fields.String()


class DomainQuery(NamedQuery):
    """Which domains."""


class DomainSchema(Schema):
    """A DNS domain that Muster is authoritative for."""

    id = fields.Integer()
    name = fields.String()
    ttl_seconds = fields.Integer()


class NewDomainSchema(Schema):
    """A domain to be."""

    name = fields.String(required=True, validate=Word)
    ttl_seconds = Integer(load_default=30, validate=Ttl)


class DomainChangeSchema(Schema):
    """What may change of a domain."""

    ttl_seconds = Integer(required=True, validate=Ttl)


class DomainPage(Schema):
    """Domains."""

    items = fields.List(fields.Nested(DomainSchema))
    next = fields.Integer(allow_none=True)
