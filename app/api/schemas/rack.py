"""Racks, what they run, and plans."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.cause import CauseSchema
from app.api.schemas.rollout import RolloutSchema


class RackSchema(Schema):
    """A rack host."""

    id = fields.Integer()
    name = fields.String()
    generation = fields.Integer()
    planned_generation = fields.Integer()
    offer_number = fields.Integer()
    applied_offer = fields.Integer()
    applied_records = fields.Integer()
    agreed_records = fields.Integer(
        allow_none=True,
        metadata={"description": "sequence at which its records last agreed with ours by their digests"},
    )
    agreed_at = fields.DateTime(allow_none=True)
    interfaces = fields.List(fields.Dict())
    dhcp_server = fields.String(metadata={"description": "which server answers DHCPv4: kea or dhcpd"})
    omapi_key_at = fields.DateTime(
        allow_none=True,
        metadata={"description": "when it last made a new key for ISC dhcpd; null: not since it enrolled"},
    )
    broker_password_at = fields.DateTime(
        allow_none=True,
        metadata={"description": "when its password at a Redis broker was made; null: nobody has needed one yet"},
    )
    canary = fields.Boolean(metadata={"description": "it is the first to take what many racks are to take"})
    version = fields.String(allow_none=True)
    seen_at = fields.DateTime(allow_none=True)
    enrolled_at = fields.DateTime()


class RackChangeSchema(Schema):
    """What can be chosen for a rack."""

    dhcp_server = fields.String(validate=validate.OneOf(("kea", "dhcpd")))
    canary = fields.Boolean(metadata={"description": "it is the first to take what many racks are to take"})


class RackQuery(PageQuery):
    """Which racks."""

    name = fields.String()
    text = fields.String(metadata={"description": "part of the name"})
    seen_since = fields.AwareDateTime(metadata={"description": "heard of at this moment or later"})


class PlanQuery(PageQuery):
    """Which plans of a rack."""

    status = fields.String(validate=validate.OneOf(("empty", "offered", "held", "approved", "superseded")))


class ServiceSchema(Schema):
    """The newest word of a rack about one of its services."""

    service = fields.String()
    digest = fields.String(allow_none=True)
    running = fields.Boolean()
    probes_ok = fields.Boolean(allow_none=True)
    detail = fields.String(allow_none=True)
    at = fields.DateTime()


class ApplySchema(Schema):
    """How one offer went for one service."""

    id = fields.Integer()
    offer_number = fields.Integer()
    service = fields.String()
    outcome = fields.String()
    stage = fields.String()
    reason = fields.String(allow_none=True)
    digest = fields.String(allow_none=True)
    undone_ok = fields.Boolean(allow_none=True)
    seconds = fields.Dict()
    probes = fields.List(fields.Raw())
    request_id = fields.String(allow_none=True)
    at = fields.DateTime()


class PlanSchema(Schema):
    """A comparison: what would change on a rack."""

    id = fields.Integer()
    rack_id = fields.Integer()
    generation = fields.Integer()
    status = fields.String()
    changes = fields.List(fields.Raw())
    dangers = fields.List(fields.Raw())
    danger_hash = fields.String(allow_none=True)
    approved_by_id = fields.Integer(allow_none=True)
    created_at = fields.DateTime()


class FailureSchema(Schema):
    """A record that a rack could not apply."""

    sequence = fields.Integer()
    scope = fields.String()
    key = fields.String()
    reason = fields.String()
    actor = fields.String(allow_none=True)
    at = fields.DateTime()


class DriftSchema(Schema):
    """Where a rack last found records of a scope that were not as they should be."""

    scope = fields.String()
    place = fields.String(metadata={"description": "store: the rack's own copy; daemon: what is served"})
    buckets = fields.Integer(metadata={"description": "of 256, that were read again"})
    found = fields.Integer()
    left = fields.Integer(metadata={"description": "could not be mended"})
    keys = fields.List(fields.String(), metadata={"description": "some of them, those that are left first"})
    at = fields.DateTime()


class RefusalSchema(Schema):
    """A part of an offer that a rack does not run: what, why, by whose change, what was put back, what to do."""

    service = fields.String()
    offer_number = fields.Integer()
    title = fields.String()
    outcome = fields.String()
    stage = fields.String()
    reason = fields.String()
    causes = fields.List(fields.Nested(CauseSchema))
    by = fields.String()
    put_back = fields.String()
    remedy = fields.String()
    at = fields.DateTime()


class ServedSchema(Schema):
    """A VLAN that a rack serves, on which interface and why there."""

    vlan_id = fields.Integer()
    name = fields.String()
    vid = fields.Integer()
    fabric = fields.String()
    role = fields.String(validate=validate.OneOf(("primary", "secondary", "relay")))
    dhcp_on = fields.Boolean()
    interface = fields.String(allow_none=True, metadata={"description": "null when the rack cannot serve it"})
    kind = fields.String(allow_none=True)
    addresses = fields.List(fields.String())
    reason = fields.String()
    partner = fields.String(allow_none=True, metadata={"description": "the VLAN's other rack"})


class OverviewSchema(Schema):
    """A rack with what is known of it."""

    rack = fields.Nested(RackSchema)
    in_sync = fields.Boolean()
    reasons = fields.List(fields.String())
    services = fields.List(fields.Nested(ServiceSchema))
    applies = fields.List(fields.Nested(ApplySchema))
    held = fields.List(fields.Nested(PlanSchema))
    failures = fields.List(fields.Nested(FailureSchema))
    drift = fields.List(fields.Nested(DriftSchema))
    refused = fields.List(fields.Nested(RefusalSchema))
    serves = fields.List(fields.Nested(ServedSchema))
    rollout = fields.Nested(
        RolloutSchema, allow_none=True, metadata={"description": "the open rollout that the rack is part of"}
    )


class RetriedSchema(Schema):
    """What a rack will try again."""

    refused = fields.List(fields.Nested(RefusalSchema))


class KeyChangeSchema(Schema):
    """What a change of a rack's key cost."""

    gap = fields.Float(metadata={"description": "seconds in which its DHCP server did not answer"})


class AclSchema(Schema):
    """Racks' users at a Redis broker."""

    lines = fields.List(
        fields.String(),
        metadata={
            "description": "lines of Redis' aclfile, one for each rack; passwords are SHA-256 hashes",
            "example": ["user rack.rack-1 on #5e88...42d8 resetkeys ~rack.rack-1 resetchannels -@all +ping +brpop"],
        },
    )


class NewCodeSchema(Schema):
    """For which rack a code is wanted."""

    name = fields.String(load_default=None, allow_none=True, validate=validate.Length(min=1, max=63))


class CodeSchema(Schema):
    """An enrolment code, shown once."""

    code = fields.String()


class ReconciledSchema(Schema):
    """Names of the racks that will be looked at again."""

    racks = fields.List(fields.String())


class RackPage(Schema):
    """Racks."""

    items = fields.List(fields.Nested(RackSchema))
    next = fields.Integer(allow_none=True)


class PlanPage(Schema):
    """Plans."""

    items = fields.List(fields.Nested(PlanSchema))
    next = fields.Integer(allow_none=True)
