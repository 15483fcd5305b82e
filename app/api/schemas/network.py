"""Fabrics, VLANs, subnets, ranges, domains."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery

Word = validate.Length(min=1, max=253)
Address = validate.Length(min=2, max=64)


class FabricSchema(Schema):
    """VLANs that can reach each other."""

    id = fields.Integer(dump_only=True)
    name = fields.String(required=True, validate=Word)


class VlanQuery(PageQuery):
    """VLANs of one fabric."""

    fabric_id = fields.Integer(load_default=None)


class VlanSchema(Schema):
    """A broadcast domain."""

    id = fields.Integer()
    fabric_id = fields.Integer()
    fabric = fields.String(attribute="fabric.name")
    vid = fields.Integer()
    name = fields.String()
    mtu = fields.Integer()
    dhcp_on = fields.Boolean()
    router_advertisements = fields.Boolean()
    rack_id = fields.Integer(allow_none=True)


class NewVlanSchema(Schema):
    """A VLAN to be."""

    fabric_id = fields.Integer(required=True)
    vid = fields.Integer(required=True)
    name = fields.String(load_default=None, allow_none=True, validate=Word)
    mtu = fields.Integer(load_default=1500)


class VlanChangeSchema(Schema):
    """What may change of a VLAN."""

    vid = fields.Integer()
    name = fields.String(validate=Word)
    mtu = fields.Integer()
    dhcp_on = fields.Boolean()
    router_advertisements = fields.Boolean()
    rack_id = fields.Integer(allow_none=True)


class SubnetQuery(PageQuery):
    """Subnets of one VLAN."""

    vlan_id = fields.Integer(load_default=None)


class SubnetSchema(Schema):
    """An IP network on a VLAN."""

    id = fields.Integer()
    cidr = fields.String()
    name = fields.String()
    vlan_id = fields.Integer()
    domain_id = fields.Integer()
    domain = fields.String(attribute="domain.name")
    gateway = fields.String(allow_none=True)
    dns_servers = fields.List(fields.String())
    managed = fields.Boolean()
    lease_seconds = fields.Integer()


class SubnetChangeSchema(Schema):
    """What may change of a subnet."""

    name = fields.String(validate=Word)
    vlan_id = fields.Integer()
    domain_id = fields.Integer()
    gateway = fields.String(allow_none=True, validate=Address)
    dns_servers = fields.List(fields.String(validate=Address), validate=validate.Length(max=8))
    managed = fields.Boolean()
    lease_seconds = fields.Integer()


class NewSubnetSchema(SubnetChangeSchema):
    """A subnet to be."""

    cidr = fields.String(required=True, validate=Address)
    vlan_id = fields.Integer(required=True)


class RangeQuery(PageQuery):
    """Ranges of one subnet."""

    subnet_id = fields.Integer(load_default=None)


class RangeChangeSchema(Schema):
    """What may change of a range."""

    kind = fields.String(metadata={"description": "dynamic or reserved"})
    start = fields.String(validate=Address)
    end = fields.String(validate=Address)
    comment = fields.String(validate=validate.Length(max=1000))


class RangeSchema(RangeChangeSchema):
    """A range of a subnet."""

    id = fields.Integer()
    subnet_id = fields.Integer()


class NewRangeSchema(Schema):
    """A range to be."""

    subnet_id = fields.Integer(required=True)
    kind = fields.String(load_default="dynamic", metadata={"description": "dynamic or reserved"})
    start = fields.String(required=True, validate=Address)
    end = fields.String(required=True, validate=Address)
    comment = fields.String(load_default="", validate=validate.Length(max=1000))


class DomainSchema(Schema):
    """A DNS domain that Muster is authoritative for."""

    id = fields.Integer(dump_only=True)
    name = fields.String(required=True, validate=Word)
    ttl_seconds = fields.Integer(load_default=30)


class DomainChangeSchema(Schema):
    """What may change of a domain."""

    ttl_seconds = fields.Integer(required=True)


class FabricPage(Schema):
    """Fabrics."""

    items = fields.List(fields.Nested(FabricSchema))
    next = fields.Integer(allow_none=True)


class VlanPage(Schema):
    """VLANs."""

    items = fields.List(fields.Nested(VlanSchema))
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
