"""Fabrics, VLANs, subnets, ranges, domains."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Boolean, Id, Integer, Number, Reference, Switch
from app.services import domains, subnets, vlans
from app.services.ranges import KINDS

Word = validate.Length(min=1, max=253)
Address = validate.Length(min=2, max=64)
Vid = validate.Range(min=vlans.LIMITS["vid"][0], max=vlans.LIMITS["vid"][1])
Mtu = validate.Range(min=vlans.LIMITS["mtu"][0], max=vlans.LIMITS["mtu"][1])
Lease = validate.Range(*subnets.LEASE_SECONDS)
Ttl = validate.Range(*domains.TTL_SECONDS)
ADDRESS_KINDS = ("auto", "sticky", "user_reserved", "rack", "bmc")


class NamedQuery(PageQuery):
    """The one of a name."""

    name = fields.String()


class FabricQuery(NamedQuery):
    """Which fabrics."""


class DomainQuery(NamedQuery):
    """Which domains."""


class FabricSchema(Schema):
    """VLANs that can reach each other."""

    id = fields.Integer()
    name = fields.String()


class NewFabricSchema(Schema):
    """A fabric to be, or its new name."""

    name = fields.String(required=True, validate=Word)


class VlanQuery(NamedQuery):
    """Which VLANs."""

    fabric_id = Id()
    rack_id = Id()
    vid = Number(validate=validate.Range(min=0, max=4094))
    dhcp_on = Switch()


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

    fabric_id = Reference(required=True)
    vid = Integer(required=True, validate=Vid)
    name = fields.String(load_default=None, allow_none=True, validate=Word)
    mtu = Integer(load_default=1500, validate=Mtu)


class VlanChangeSchema(Schema):
    """What may change of a VLAN."""

    vid = Integer(validate=Vid)
    name = fields.String(validate=Word)
    mtu = Integer(validate=Mtu)
    dhcp_on = Boolean()
    router_advertisements = Boolean()
    rack_id = Reference(allow_none=True)


class SubnetQuery(NamedQuery):
    """Which subnets."""

    vlan_id = Id()
    fabric_id = Id()
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
    vlan_id = Reference(required=True)


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
