"""Fabrics, VLANs, spaces."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Boolean, Id, Integer, Number, Reference, Switch
from app.services import vlans

Word = validate.Length(min=1, max=253)
Words = validate.Length(max=1000)
Vid = validate.Range(min=vlans.LIMITS["vid"][0], max=vlans.LIMITS["vid"][1])
Mtu = validate.Range(min=vlans.LIMITS["mtu"][0], max=vlans.LIMITS["mtu"][1])


class FabricQuery(PageQuery):
    """Which fabrics."""

    name = fields.String()
    found = Switch(metadata={"description": "by a rack's or a machine's report, not by a person"})


class FabricSchema(Schema):
    """VLANs that can reach each other."""

    id = fields.Integer()
    name = fields.String()
    description = fields.String()
    found = fields.Boolean(metadata={"description": "by a rack's or a machine's report, not by a person"})


class FabricChangeSchema(Schema):
    """What may change of a fabric."""

    name = fields.String(validate=Word)
    description = fields.String(validate=Words)


class NewFabricSchema(Schema):
    """A fabric to be."""

    name = fields.String(
        load_default=None, allow_none=True, validate=Word, metadata={"description": "fabric-N when there is none"}
    )
    description = fields.String(load_default="", validate=Words)


class MergeSchema(Schema):
    """With which one a thing becomes one."""

    into_id = Reference(required=True, metadata={"description": "the one that stays"})


class VlanQuery(PageQuery):
    """Which VLANs."""

    name = fields.String()
    fabric_id = Id()
    rack_id = Id()
    secondary_rack_id = Id()
    relay_vlan_id = Id()
    space_id = Id()
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
    rack_id = fields.Integer(allow_none=True, metadata={"description": "the primary rack"})
    secondary_rack_id = fields.Integer(allow_none=True)
    relay_vlan_id = fields.Integer(
        allow_none=True, metadata={"description": "a relay agent brings its DHCP to that VLAN's racks"}
    )
    space_id = fields.Integer(allow_none=True)
    space = fields.Pluck("SpaceNameSchema", "name", allow_none=True)


class SpaceNameSchema(Schema):
    """What a space is called."""

    name = fields.String()


class NewVlanSchema(Schema):
    """A VLAN to be."""

    fabric_id = Reference(
        load_default=None, allow_none=True, metadata={"description": "the default fabric when there is none"}
    )
    vid = Integer(required=True, validate=Vid)
    name = fields.String(load_default=None, allow_none=True, validate=Word)
    mtu = Integer(load_default=1500, validate=Mtu)
    space_id = Reference(load_default=None, allow_none=True)
    relay_vlan_id = Reference(load_default=None, allow_none=True)


class VlanChangeSchema(Schema):
    """What may change of a VLAN."""

    fabric_id = Reference()
    vid = Integer(validate=Vid)
    name = fields.String(validate=Word)
    mtu = Integer(validate=Mtu)
    dhcp_on = Boolean()
    router_advertisements = Boolean()
    rack_id = Reference(allow_none=True)
    secondary_rack_id = Reference(allow_none=True)
    relay_vlan_id = Reference(allow_none=True)
    space_id = Reference(allow_none=True)


class SpaceQuery(PageQuery):
    """Which spaces."""

    name = fields.String()


class SpaceSchema(Schema):
    """VLANs whose subnets may reach each other at layer 3."""

    id = fields.Integer()
    name = fields.String()
    description = fields.String()
    vlans = fields.Integer(metadata={"description": "how many VLANs are in it"})
    subnets = fields.Integer(metadata={"description": "how many subnets these have"})
    without_subnets = fields.Boolean(metadata={"description": "nothing can be in it"})


class NewSpaceSchema(Schema):
    """A space to be."""

    name = fields.String(required=True, validate=Word)
    description = fields.String(load_default="", validate=Words)


class SpaceChangeSchema(Schema):
    """What may change of a space."""

    name = fields.String(validate=Word)
    description = fields.String(validate=Words)


class FabricPage(Schema):
    """Fabrics."""

    items = fields.List(fields.Nested(FabricSchema))
    next = fields.Integer(allow_none=True)


class VlanPage(Schema):
    """VLANs."""

    items = fields.List(fields.Nested(VlanSchema))
    next = fields.Integer(allow_none=True)


class SpacePage(Schema):
    """Spaces."""

    items = fields.List(fields.Nested(SpaceSchema))
    next = fields.Integer(allow_none=True)
