"""Devices, and the interfaces of machines and devices with their links."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.address import Mac
from app.api.schemas.network import Word
from app.api.schemas.strict import Id, Reference
from app.api.schemas.subnet import Address, Note
from app.services.addresses import KINDS
from app.services.devices import MOST_INTERFACES
from app.services.links import MODES

Label = validate.Length(min=1, max=63)
Name = validate.Length(min=1, max=64)
MODE_WORDS = {
    "description": "auto: given at deploy and taken back at release (a device has it at once); sticky: given at once and kept;"
    " static: the address that is named; dhcp: leased from the dynamic range"
}


class LinkSchema(Schema):
    """How an interface gets its address in a subnet."""

    subnet_id = fields.Integer()
    mode = fields.String(validate=validate.OneOf(MODES))


class LinkedAddressSchema(Schema):
    """An address of an interface."""

    id = fields.Integer()
    subnet_id = fields.Integer()
    address = fields.String()
    kind = fields.String(validate=validate.OneOf(KINDS))


class LinkedInterfaceSchema(Schema):
    """A network interface of a machine or a device."""

    id = fields.Integer()
    machine_id = fields.Integer(allow_none=True)
    device_id = fields.Integer(allow_none=True)
    owner = fields.Function(
        lambda row: row.machine.hostname if row.machine is not None else row.device.hostname,
        metadata={"type": "string", "description": "hostname of the machine or device"},
    )
    name = fields.String()
    mac = fields.String()
    boot = fields.Boolean()
    vlan_id = fields.Integer(allow_none=True)
    subnet_id = fields.Integer(allow_none=True, metadata={"description": "the subnet it was seen in"})
    links = fields.List(fields.Nested(LinkSchema))
    addresses = fields.List(fields.Nested(LinkedAddressSchema))


class InterfaceQuery(PageQuery):
    """Which interfaces."""

    machine = fields.String(metadata={"description": "id or hostname"})
    device = fields.String(metadata={"description": "id or hostname"})
    mac = fields.String()
    subnet_id = Id()
    vlan_id = Id()


class InterfacePage(Schema):
    """Interfaces."""

    items = fields.List(fields.Nested(LinkedInterfaceSchema))
    next = fields.Integer(allow_none=True)


class NewLinkSchema(Schema):
    """How an interface should get its address in the subnet. address: for mode static, and only then."""

    mode = fields.String(required=True, validate=validate.OneOf(MODES), metadata=MODE_WORDS)
    address = fields.String(load_default=None, allow_none=True, validate=Address)


class DeviceLinkSchema(NewLinkSchema):
    """The same, with the subnet."""

    subnet_id = Reference(required=True)


class NewDeviceInterfaceSchema(Schema):
    """An interface that a device has."""

    mac = fields.String(required=True, validate=Mac)
    name = fields.String(load_default=None, allow_none=True, validate=Name)
    links = fields.List(fields.Nested(DeviceLinkSchema), load_default=list, validate=validate.Length(max=8))


class DeviceInterfaceChangeSchema(Schema):
    """What may change of a device's interface."""

    mac = fields.String(validate=Mac)
    name = fields.String(validate=Name)


class DeviceQuery(PageQuery):
    """Which devices."""

    hostname = fields.String()
    domain = fields.String()
    zone = fields.String()
    owner = fields.String()
    parent = fields.String(metadata={"description": "hostname of the machine that it is part of"})
    mac = fields.String()
    text = fields.String(metadata={"description": "part of a hostname or of a MAC address"})


class DeviceInterfaceSchema(Schema):
    """An interface of a device."""

    id = fields.Integer()
    name = fields.String()
    mac = fields.String()
    vlan_id = fields.Integer(allow_none=True)
    links = fields.List(fields.Nested(LinkSchema))
    addresses = fields.List(fields.Nested(LinkedAddressSchema))


class DeviceSchema(Schema):
    """What is on the network with addresses and names from Muster, and is not installed by it."""

    id = fields.Integer()
    hostname = fields.String()
    domain = fields.String(attribute="domain.name")
    fqdn = fields.String()
    description = fields.String()
    owner = fields.String(attribute="owner.name", dump_default=None, allow_none=True)
    zone = fields.String(attribute="zone.name")
    parent = fields.String(attribute="parent.hostname", dump_default=None, allow_none=True)
    interfaces = fields.List(fields.Nested(DeviceInterfaceSchema))
    created_at = fields.DateTime()


class DeviceChangeSchema(Schema):
    """What may change of a device."""

    hostname = fields.String(validate=Label)
    domain = fields.String(validate=Word)
    zone = fields.String(validate=Word)
    owner = fields.String(allow_none=True, validate=Word)
    parent = fields.String(allow_none=True, validate=Word, metadata={"description": "hostname of a machine"})
    description = fields.String(validate=Note)


class NewDeviceSchema(DeviceChangeSchema):
    """A device to be. Its first interface is the one whose addresses its own name has."""

    hostname = fields.String(required=True, validate=Label)
    interfaces = fields.List(
        fields.Nested(NewDeviceInterfaceSchema), load_default=list, validate=validate.Length(max=MOST_INTERFACES)
    )


class DevicePage(Schema):
    """Devices."""

    items = fields.List(fields.Nested(DeviceSchema))
    next = fields.Integer(allow_none=True)
