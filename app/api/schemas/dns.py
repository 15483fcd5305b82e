"""DNS: domains, the records that people add, outside secondaries."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Id, Integer, Reference
from app.services import dns_data, dns_records, dns_secondaries, domains

Word = validate.Length(min=1, max=253)
Ttl = validate.Range(*domains.TTL_SECONDS)
Port = validate.Range(min=1, max=65535)
Description = validate.Length(max=1000)


class DomainQuery(PageQuery):
    """Which domains."""

    name = fields.String()


class DomainSchema(Schema):
    """A DNS domain that Muster is authoritative for."""

    id = fields.Integer()
    name = fields.String()
    ttl_seconds = fields.Integer()
    description = fields.String()
    primary_rack_id = fields.Integer(
        allow_none=True, metadata={"description": "rack that holds the primary; null: the one enrolled first"}
    )


class DomainSettings(Schema):
    """What is chosen of a domain beside its name."""

    ttl_seconds = Integer(validate=Ttl)
    description = fields.String(validate=Description)
    primary_rack_id = Reference(allow_none=True)


class DomainChangeSchema(DomainSettings):
    """What may change of a domain."""

    name = fields.String(
        validate=Word, metadata={"description": "all names in it follow; not while a machine of it is being worked on"}
    )


class StaleNameSchema(Schema):
    """A deployed machine that was installed under another name than it has now."""

    id = fields.Integer()
    machine_id = fields.Integer()
    hostname = fields.String()
    installed_name = fields.String(metadata={"description": "what its system calls itself"})
    name = fields.String(metadata={"description": "what DNS calls it"})
    installed_at = fields.DateTime()


class StaleNamePage(Schema):
    """Machines with old names."""

    items = fields.List(fields.Nested(StaleNameSchema))
    next = fields.Integer(allow_none=True)


class NewDomainSchema(DomainSettings):
    """A domain to be."""

    name = fields.String(required=True, validate=Word)
    ttl_seconds = Integer(load_default=30, validate=Ttl)


class DomainPage(Schema):
    """Domains."""

    items = fields.List(fields.Nested(DomainSchema))
    next = fields.Integer(allow_none=True)


class ZoneServerSchema(Schema):
    """A domain's zone at one rack."""

    rack_id = fields.Integer()
    rack = fields.String()
    role = fields.String(validate=validate.OneOf(("primary", "secondary")))
    serial = fields.Integer(allow_none=True, metadata={"description": "as the rack's own name server answers"})
    in_sync = fields.Boolean(allow_none=True, metadata={"description": "whether it is not behind the primary"})
    at = fields.DateTime(allow_none=True)


class ZoneServers(Schema):
    """The racks that serve a domain, the primary first."""

    items = fields.List(fields.Nested(ZoneServerSchema))


class DnsRecordQuery(PageQuery):
    """Which records."""

    name = fields.String(metadata={"description": "relative to the domain, or absolute with a final dot"})
    kind = fields.String(data_key="type", validate=validate.OneOf(dns_data.TYPES))
    text = fields.String(metadata={"description": "part of the name or of the data"})


class DnsRecordSchema(Schema):
    """A DNS record that somebody has added."""

    id = fields.Integer()
    domain_id = fields.Integer()
    name = fields.String(metadata={"description": "relative to the domain; `@` is the domain itself"})
    type = fields.String(validate=validate.OneOf(dns_data.TYPES))
    data = fields.String(metadata={"description": "presentation form (RFC 1035), names absolute"})
    ttl_seconds = fields.Integer(allow_none=True, metadata={"description": "of the RRset; null: the domain's"})


class NewDnsRecordSchema(Schema):
    """A record to be."""

    name = fields.String(required=True, validate=Word, metadata={"example": "www"})
    type = fields.String(required=True, validate=validate.OneOf(dns_data.TYPES))
    data = fields.String(
        required=True, validate=validate.Length(min=0, max=dns_data.LONGEST_DATA), metadata={"example": "192.0.2.10"}
    )
    ttl_seconds = Integer(load_default=None, allow_none=True, validate=Ttl)


class DnsRecordChangeSchema(Schema):
    """What may change of a record."""

    data = fields.String(validate=validate.Length(min=0, max=dns_data.LONGEST_DATA))
    ttl_seconds = Integer(allow_none=True, validate=Ttl)


class DnsRecordPage(Schema):
    """Records."""

    items = fields.List(fields.Nested(DnsRecordSchema))
    next = fields.Integer(allow_none=True)


class DnsBulkSchema(Schema):
    """Many changes at once, all or none: records to delete by id, then records to add."""

    add = fields.List(
        fields.Nested(NewDnsRecordSchema), load_default=list, validate=validate.Length(max=dns_records.MOST_TOGETHER)
    )
    remove = fields.List(
        Id(), data_key="delete", load_default=list, validate=validate.Length(max=dns_records.MOST_TOGETHER)
    )


class DnsBulkAnswerSchema(Schema):
    """How many were added and deleted."""

    added = fields.Integer()
    deleted = fields.Integer()


class SecondaryQuery(PageQuery):
    """Which outside secondaries."""

    name = fields.String()


class SecondarySchema(Schema):
    """A server that is not ours and may copy zones."""

    id = fields.Integer()
    name = fields.String()
    address = fields.String()
    port = fields.Integer()
    key_name = fields.String(metadata={"description": "of the TSIG key (RFC 8945)"})
    algorithm = fields.String(validate=validate.OneOf(dns_secondaries.ALGORITHMS))
    version = fields.Integer(metadata={"description": "how many keys it has had"})


class ShownSecondarySchema(SecondarySchema):
    """An outside secondary with its key, shown this once."""

    secret = fields.String(metadata={"description": "base64; it is not shown again"})


class SecondaryChangeSchema(Schema):
    """What may change of an outside secondary."""

    address = fields.String(validate=validate.Length(min=2, max=64))
    port = Integer(validate=Port)


class NewSecondarySchema(Schema):
    """An outside secondary to be."""

    name = fields.String(required=True, validate=validate.Length(min=1, max=63))
    address = fields.String(required=True, validate=validate.Length(min=2, max=64))
    port = Integer(load_default=53, validate=Port)
    algorithm = fields.String(load_default="hmac-sha256", validate=validate.OneOf(dns_secondaries.ALGORITHMS))


class SecondaryPage(Schema):
    """Outside secondaries."""

    items = fields.List(fields.Nested(SecondarySchema))
    next = fields.Integer(allow_none=True)
