"""Subnets, ranges, domains, addresses."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Boolean, Id, Integer, Reference, Switch
from app.services import domains, subnets
from app.services.ranges import KINDS

Word = validate.Length(min=1, max=253)
Address = validate.Length(min=2, max=64)
Lease = validate.Range(*subnets.LEASE_SECONDS)
Ttl = validate.Range(*domains.TTL_SECONDS)
ADDRESS_KINDS = ("auto", "sticky", "user_reserved", "rack", "bmc")


class NamedQuery(PageQuery):
    """The one of a name."""

    name = fields.String()


class DomainQuery(NamedQuery):
    """Which domains."""


class SubnetQuery(NamedQuery):
    """Which subnets."""

    vlan_id = Id()
    fabric_id = Id()
    space_id = Id()
    domain_id = Id()
    managed = Switch()
    cidr = fields.String()
    address = fields.String(metadata={"description": "one that lies in the subnet"})


class SubnetSchema(Schema):
    """An IP network on a VLAN."""

    id = fields.Integer()
    cidr = fields.String()
    name = fields.String()
    vlan_id = fields.Integer()
    space_id = fields.Integer(attribute="vlan.space_id", allow_none=True, metadata={"description": "that of its VLAN"})
    domain_id = fields.Integer()
    domain = fields.String(attribute="domain.name")
    gateway = fields.String(allow_none=True)
    dns_servers = fields.List(fields.String())
    managed = fields.Boolean()
    lease_seconds = fields.Integer()


class SubnetChangeSchema(Schema):
    """What may change of a subnet."""

    name = fields.String(validate=Word)
    vlan_id = Reference()
    domain_id = Reference()
    gateway = fields.String(allow_none=True, validate=Address)
    dns_servers = fields.List(fields.String(validate=Address), validate=validate.Length(max=8))
    managed = Boolean()
    lease_seconds = Integer(validate=Lease)


class NewSubnetSchema(SubnetChangeSchema):
    """A subnet to be."""

    cidr = fields.String(required=True, validate=Address)
    vlan_id = Reference(
        load_default=None,
        allow_none=True,
        metadata={"description": "the default fabric's untagged VLAN when there is none"},
    )
    fabric = fields.String(
        load_default=None,
        allow_none=True,
        validate=Word,
        metadata={"description": "name of a new fabric, whose untagged VLAN the subnet joins"},
    )


class RangeQuery(PageQuery):
    """Which ranges."""

    subnet_id = Id()
    kind = fields.String(validate=validate.OneOf(KINDS))


class RangeChangeSchema(Schema):
    """What may change of a range."""

    kind = fields.String(validate=validate.OneOf(KINDS))
    start = fields.String(validate=Address)
    end = fields.String(validate=Address)
    comment = fields.String(validate=validate.Length(max=1000))


class RangeSchema(RangeChangeSchema):
    """A range of a subnet."""

    id = fields.Integer()
    subnet_id = fields.Integer()


class NewRangeSchema(Schema):
    """A range to be."""

    subnet_id = Reference(required=True)
    kind = fields.String(load_default="dynamic", validate=validate.OneOf(KINDS))
    start = fields.String(required=True, validate=Address)
    end = fields.String(required=True, validate=Address)
    comment = fields.String(load_default="", validate=validate.Length(max=1000))


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


class AddressQuery(PageQuery):
    """Which addresses."""

    subnet_id = Id()
    machine = fields.String(metadata={"description": "id or hostname"})
    rack_id = Id()
    kind = fields.String(validate=validate.OneOf(ADDRESS_KINDS))
    address = fields.String()
    hostname = fields.String()


class AddressSchema(Schema):
    """An address in use."""

    id = fields.Integer()
    subnet_id = fields.Integer()
    address = fields.String()
    kind = fields.String(validate=validate.OneOf(ADDRESS_KINDS))
    hostname = fields.String(allow_none=True)
    interface_id = fields.Integer(allow_none=True)
    rack_id = fields.Integer(allow_none=True)
    created_at = fields.DateTime()


class NewAddressSchema(Schema):
    """An address to be reserved."""

    subnet_id = Reference(required=True)
    address = fields.String(required=True, validate=Address)
    hostname = fields.String(load_default=None, allow_none=True, validate=Word)


class AddressPage(Schema):
    """Addresses."""

    items = fields.List(fields.Nested(AddressSchema))
    next = fields.Integer(allow_none=True)


class SubnetPage(Schema):
    """Subnets."""

    items = fields.List(fields.Nested(SubnetSchema))
    next = fields.Integer(allow_none=True)


class RangePage(Schema):
    """Ranges."""

    items = fields.List(fields.Nested(RangeSchema))
    next = fields.Integer(allow_none=True)


class DomainPage(Schema):
    """Domains."""

    items = fields.List(fields.Nested(DomainSchema))
    next = fields.Integer(allow_none=True)
