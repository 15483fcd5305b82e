"""Subnets and ranges."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery, SparseQuery
from app.api.schemas.network import NamedQuery, Word
from app.api.schemas.strict import Boolean, Id, Integer, Number, Reference, Switch
from app.services.ranges import KINDS
from app.services.subnet_rules import LEASE_SECONDS, LONGEST_DESCRIPTION, REVERSE_DNS, UNKNOWN_CLIENTS
from renderers.dhcp.boot import ARCHITECTURES as BOOT_ARCHITECTURES

Address = validate.Length(min=2, max=64)
Lease = validate.Range(*LEASE_SECONDS)
Note = validate.Length(max=1000)
KIND_WORDS = {
    "description": "dynamic: DHCP leases from it; reserved: Muster keeps away, or, in an unmanaged subnet, hands out only these;"
    " static_pool: Muster hands out only from such ranges where there are any"
}


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
    description = fields.String()
    vlan_id = fields.Integer()
    space_id = fields.Integer(attribute="vlan.space_id", allow_none=True, metadata={"description": "that of its VLAN"})
    domain_id = fields.Integer()
    domain = fields.String(attribute="domain.name")
    gateway = fields.String(allow_none=True)
    dns_servers = fields.List(fields.String())
    managed = fields.Boolean()
    lease_seconds = fields.Integer()
    boot_lease_seconds = fields.Integer()
    reverse_dns = fields.String(validate=validate.OneOf(REVERSE_DNS))
    allow_dns = fields.Boolean()
    allow_proxy = fields.Boolean()
    disabled_boot_architectures = fields.List(fields.String())
    unknown_clients = fields.String(validate=validate.OneOf(UNKNOWN_CLIENTS))
    slaac = fields.Boolean()
    found = fields.Boolean(metadata={"description": "a report of a rack or a machine made it, no person"})


class SubnetChangeSchema(Schema):
    """What may change of a subnet."""

    name = fields.String(validate=Word)
    description = fields.String(validate=validate.Length(max=LONGEST_DESCRIPTION))
    vlan_id = Reference()
    domain_id = Reference()
    gateway = fields.String(allow_none=True, validate=Address)
    dns_servers = fields.List(fields.String(validate=Address), validate=validate.Length(max=8))
    managed = Boolean(
        metadata={"description": "true: Muster hands out all that lies outside the ranges; false: only reserved ranges"}
    )
    lease_seconds = Integer(validate=Lease)
    boot_lease_seconds = Integer(validate=Lease, metadata={"description": "for clients that are booting"})
    reverse_dns = fields.String(
        validate=validate.OneOf(REVERSE_DNS),
        metadata={"description": "rfc2317: networks smaller than a /24 have a zone of their own"},
    )
    allow_dns = Boolean(metadata={"description": "whether racks answer its clients' recursive queries"})
    allow_proxy = Boolean(metadata={"description": "whether racks' proxies serve its clients"})
    disabled_boot_architectures = fields.List(
        fields.String(validate=validate.OneOf(list(BOOT_ARCHITECTURES))),
        validate=validate.Length(max=len(BOOT_ARCHITECTURES)),
    )
    unknown_clients = fields.String(
        validate=validate.OneOf(UNKNOWN_CLIENTS),
        metadata={"description": "what DHCP does for MAC addresses that Muster has never heard of"},
    )
    slaac = Boolean(
        metadata={"description": "whether router advertisements let clients of an IPv6 /64 make up their own addresses"}
    )


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


class SubnetPage(Schema):
    """Subnets."""

    items = fields.List(fields.Nested(SubnetSchema))
    next = fields.Integer(allow_none=True)


class RangeQuery(PageQuery):
    """Which ranges."""

    subnet_id = Id()
    kind = fields.String(validate=validate.OneOf(KINDS))


class ForceQuery(Schema):
    """Whether to do it all the same."""

    force = Switch(
        load_default=False,
        metadata={
            "description": "also when addresses that the range loses are leased or given: they stay so until they end"
        },
    )


class RangeChangeSchema(Schema):
    """What may change of a range."""

    kind = fields.String(validate=validate.OneOf(KINDS), metadata=KIND_WORDS)
    start = fields.String(validate=Address)
    end = fields.String(validate=Address)
    comment = fields.String(validate=Note)


class RangeSchema(RangeChangeSchema):
    """A range of a subnet, both ends included."""

    id = fields.Integer()
    subnet_id = fields.Integer()


class NewRangeSchema(Schema):
    """A range to be, both ends included."""

    subnet_id = Reference(required=True)
    kind = fields.String(load_default="dynamic", validate=validate.OneOf(KINDS), metadata=KIND_WORDS)
    start = fields.String(required=True, validate=Address)
    end = fields.String(required=True, validate=Address)
    comment = fields.String(load_default="", validate=Note)


class RangePage(Schema):
    """Ranges."""

    items = fields.List(fields.Nested(RangeSchema))
    next = fields.Integer(allow_none=True)


class AfterAddressQuery(SparseQuery):
    """Which page: everything after an address, at most so many."""

    after = fields.String(
        load_default=None, validate=Address, metadata={"description": "last address seen: `next` of the page before"}
    )
    limit = Number(load_default=100, validate=validate.Range(min=1, max=500))


class SubnetStatisticsSchema(Schema):
    """A subnet in numbers of addresses."""

    subnet_id = fields.Integer()
    cidr = fields.String()
    total = fields.Integer(metadata={"description": "addresses that hosts may have"})
    by_kind = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "given, by kind"})
    dynamic = fields.Integer(metadata={"description": "in dynamic ranges"})
    reserved = fields.Integer(metadata={"description": "in reserved ranges"})
    static_pool = fields.Integer(metadata={"description": "in static pools"})
    leased = fields.Integer(metadata={"description": "leased by DHCP now"})
    open = fields.Integer(metadata={"description": "those that Muster may hand out by the subnet's rules"})
    available = fields.Integer(metadata={"description": "those of them that nobody has"})
    strangers = fields.Integer(metadata={"description": "seen in use lately, and none that Muster knows of"})
    usage_percent = fields.Float(metadata={"description": "how much of what may be handed out is given"})


class PartSchema(Schema):
    """An interval of addresses, both ends included."""

    start = fields.String()
    end = fields.String()
    count = fields.Integer()
    purpose = fields.String(metadata={"description": "free; dynamic, reserved or static_pool; gateway; route"})
    comment = fields.String()


class PartPage(Schema):
    """Intervals of addresses."""

    items = fields.List(fields.Nested(PartSchema))
    next = fields.String(allow_none=True)


class UseSchema(Schema):
    """An address in use and who has it. kind is `discovered` where it was only observed."""

    address = fields.String()
    kind = fields.String()
    id = fields.Integer(allow_none=True, metadata={"description": "of the address; none when it was only observed"})
    hostname = fields.String(allow_none=True)
    machine = fields.String(allow_none=True)
    device = fields.String(allow_none=True)
    rack = fields.String(allow_none=True)
    interface = fields.String(allow_none=True)
    mac = fields.String(allow_none=True)
    comment = fields.String()
    leased_until = fields.DateTime(allow_none=True)
    seen_at = fields.DateTime(allow_none=True)
    seen_mac = fields.String(allow_none=True, metadata={"description": "what a rack has seen answering there"})


class UsePage(Schema):
    """Addresses in use."""

    items = fields.List(fields.Nested(UseSchema))
    next = fields.String(allow_none=True)


class StaleGatewaySchema(Schema):
    """A deployed machine whose system sends through a gateway that is not its subnet's any more."""

    id = fields.Integer()
    machine_id = fields.Integer()
    hostname = fields.String()
    interface = fields.String()
    installed_gateway = fields.String()
    gateway = fields.String(allow_none=True, metadata={"description": "of the subnet now"})
    installed_at = fields.DateTime()


class StaleGatewayPage(Schema):
    """Machines on old gateways."""

    items = fields.List(fields.Nested(StaleGatewaySchema))
    next = fields.Integer(allow_none=True)


class RenumberSchema(Schema):
    """Where a subnet goes."""

    cidr = fields.String(
        required=True, validate=Word, metadata={"description": "the new network, of the same family and VLAN"}
    )
    force = Boolean(
        metadata={
            "description": "also while addresses of its dynamic ranges are leased; clients keep those until they end"
        }
    )


class RenumberQuery(Schema):
    """Where a subnet would go."""

    cidr = fields.String(required=True, validate=Word)
    force = Switch()


class MovedRangeSchema(Schema):
    """A range, and where it will be."""

    kind = fields.String()
    start = fields.String()
    end = fields.String()
    new_start = fields.String()
    new_end = fields.String()


class StayingSchema(Schema):
    """A machine that stays in the old network."""

    machine_id = fields.Integer()
    hostname = fields.String()
    why = fields.String()


class RenumberingSchema(Schema):
    """What renumbering a subnet would do."""

    subnet_id = fields.Integer()
    cidr = fields.String()
    new_cidr = fields.String()
    target_id = fields.Integer(
        allow_none=True, metadata={"description": "the new network's subnet, where it is there already"}
    )
    gateway = fields.String(allow_none=True)
    dns_servers = fields.List(fields.String())
    ranges = fields.List(fields.Nested(MovedRangeSchema))
    routes = fields.Integer(metadata={"description": "static routes from and to it"})
    machines = fields.Integer(metadata={"description": "machines that move"})
    devices = fields.Integer(metadata={"description": "devices that move"})
    addresses = fields.Integer(metadata={"description": "reservations and addresses kept by hand that move"})
    staying = fields.List(fields.Nested(StayingSchema), metadata={"description": "the first of those that stay"})
    staying_count = fields.Integer()
    refusals = fields.List(fields.String(), metadata={"description": "what speaks against it; empty: it may begin"})


class InstalledRouteSchema(Schema):
    """A static route."""

    destination = fields.String(metadata={"description": "a network"})
    gateway = fields.String()
    metric = fields.Integer()


class StaleRoutesSchema(Schema):
    """A deployed machine whose system has other routes of the subnet than there are now."""

    id = fields.Integer()
    machine_id = fields.Integer()
    hostname = fields.String()
    keeps = fields.List(
        fields.Nested(InstalledRouteSchema), metadata={"description": "installed with them; they are there no more"}
    )
    lacks = fields.List(
        fields.Nested(InstalledRouteSchema), metadata={"description": "they are there; it was installed without them"}
    )
    installed_at = fields.DateTime()


class StaleRoutesPage(Schema):
    """Machines with old routes."""

    items = fields.List(fields.Nested(StaleRoutesSchema))
    next = fields.Integer(allow_none=True)
