"""Machines: what goes in and out."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.operation import OperationSchema
from app.api.schemas.strict import LARGEST, Id, Integer
from app.lifecycle.states import State
from app.lifecycle.table import allowed

Word = validate.Length(min=1, max=253)
Count = validate.Range(min=0, max=LARGEST)
Words = fields.List(fields.String(validate=Word), validate=validate.Length(max=100))


TEXTS = {"type": "array", "items": {"type": "string"}}


class MachineQuery(PageQuery):
    """What to look for. state and tag may be repeated."""

    state = fields.List(fields.String(validate=validate.OneOf([state.value for state in State])), load_default=list)
    pool = fields.String(load_default=None)
    zone = fields.String(load_default=None)
    tag = fields.List(fields.String(validate=Word), load_default=list)
    hostname = fields.String(load_default=None)
    mac = fields.String(load_default=None)
    owner = fields.String(load_default=None)
    architecture = fields.String(load_default=None)
    power_state = fields.String(load_default=None)
    text = fields.String(load_default=None, metadata={"description": "part of a hostname or of a MAC address"})
    rack_id = Id()
    subnet_id = Id()


class InterfaceSchema(Schema):
    """A network interface."""

    id = fields.Integer()
    name = fields.String()
    mac = fields.String()
    boot = fields.Boolean()
    link = fields.Boolean(allow_none=True)
    speed_mbps = fields.Integer(allow_none=True)
    driver = fields.String(allow_none=True)
    vlan_id = fields.Integer(allow_none=True)
    subnet_id = fields.Integer(allow_none=True)
    addresses = fields.Function(lambda interface: [row.address for row in interface.addresses], metadata=TEXTS)


class DiskSchema(Schema):
    """A disk as commissioning saw it."""

    name = fields.String()
    path = fields.String()
    by_id = fields.String(allow_none=True)
    size_bytes = fields.Integer()
    model = fields.String(allow_none=True)
    serial = fields.String(allow_none=True)
    rotational = fields.Boolean()


class MachineSchema(Schema):
    """A server. `actions` are the verbs that may be asked of it now."""

    id = fields.Integer()
    hostname = fields.String()
    fqdn = fields.String()
    domain_id = fields.Integer()
    state = fields.String()
    state_reason = fields.String(allow_none=True)
    state_since = fields.DateTime()
    power_state = fields.String()
    power_checked_at = fields.DateTime(allow_none=True)
    architecture = fields.String()
    firmware = fields.String(allow_none=True)
    system_uuid = fields.String(allow_none=True)
    owner = fields.String(attribute="owner.name", dump_default=None, allow_none=True)
    zone = fields.String(attribute="zone.name")
    pool = fields.String(attribute="pool.name")
    tags = fields.Function(lambda machine: sorted(tag.name for tag in machine.tags), metadata=TEXTS)
    cpu_count = fields.Integer()
    memory_mib = fields.Integer()
    storage_bytes = fields.Integer()
    addresses = fields.Function(
        lambda machine: [row.address for interface in machine.interfaces for row in interface.addresses],
        metadata=TEXTS,
    )
    interfaces = fields.List(fields.Nested(InterfaceSchema))
    power_driver = fields.String(attribute="bmc.driver", dump_default=None, allow_none=True)
    actions = fields.Function(lambda machine: [action.name for action in allowed(State(machine.state))], metadata=TEXTS)
    version = fields.Integer()
    created_at = fields.DateTime()


class WholeMachineSchema(MachineSchema):
    """A server with all that is known of it."""

    ssh_host_keys = fields.List(fields.String())
    inventory = fields.Dict(allow_none=True)
    disks = fields.List(fields.Nested(DiskSchema))
    operation = fields.Nested(OperationSchema, allow_none=True)
    image_id = fields.Integer(allow_none=True)
    rack_id = fields.Integer(allow_none=True)


class NewMachineSchema(Schema):
    """A machine made known by hand, by MAC addresses (the boot interface's first), by its system UUID, or by both."""

    macs = fields.List(fields.String(validate=Word), load_default=list, validate=validate.Length(max=64))
    system_uuid = fields.String(load_default=None, allow_none=True, validate=Word)
    hostname = fields.String(load_default=None, allow_none=True, validate=Word)
    architecture = fields.String(load_default="amd64")
    zone = fields.String(load_default=None, allow_none=True)
    pool = fields.String(load_default=None, allow_none=True)
    domain = fields.String(load_default=None, allow_none=True)
    power_driver = fields.String(load_default=None, allow_none=True)
    power_parameters = fields.Dict(keys=fields.String(), values=fields.String(), load_default=dict)


class MachineChangeSchema(Schema):
    """What may change of a machine."""

    hostname = fields.String(validate=Word)
    zone = fields.String(validate=Word)
    pool = fields.String(validate=Word)
    domain = fields.String(validate=Word)
    tags = Words


class ConstraintsSchema(Schema):
    """What an allocated machine must be; what is left out does not matter."""

    name = fields.String(load_default=None, allow_none=True)
    architecture = fields.String(load_default=None, allow_none=True)
    zone = fields.String(load_default=None, allow_none=True)
    pool = fields.String(load_default=None, allow_none=True)
    subnet = fields.String(load_default=None, allow_none=True, metadata={"description": "CIDR or name"})
    tags = fields.List(fields.String(validate=Word), load_default=list, validate=validate.Length(max=100))
    not_tags = fields.List(fields.String(validate=Word), load_default=list, validate=validate.Length(max=100))
    cpu_count = Integer(load_default=None, allow_none=True, validate=Count)
    memory_mib = Integer(load_default=None, allow_none=True, validate=Count)
    storage_gb = Integer(load_default=None, allow_none=True, validate=Count, metadata={"description": "10^9 bytes"})


class MachinePage(Schema):
    """Machines."""

    items = fields.List(fields.Nested(MachineSchema))
    next = fields.Integer(allow_none=True)
