"""Lines of syslog."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Id, Number
from app.services.syslog import FACILITIES, SEVERITIES

HIGHEST = 2**53 - 1
"""Lines have higher numbers than other things; beyond, JSON's numbers are not exact (RFC 8259, section 6)."""


class MachineSyslogQuery(PageQuery):
    """Which lines of a machine."""

    after = Number(
        load_default=0,
        validate=validate.Range(min=0, max=HIGHEST),
        metadata={"description": "last id seen: `next` of the page before"},
    )
    severity = fields.String(
        validate=validate.OneOf(SEVERITIES), metadata={"description": "this one or a graver one (RFC 5424)"}
    )
    program = fields.String(metadata={"description": "as the sender says, as in sshd"})
    text = fields.String(metadata={"description": "part of the message; case does not count"})
    since = fields.AwareDateTime(metadata={"description": "at this moment or later"})
    until = fields.AwareDateTime(metadata={"description": "at this moment or earlier"})


class SyslogQuery(MachineSyslogQuery):
    """Which lines of all."""

    machine = fields.String(metadata={"description": "id or hostname"})
    rack_id = Id()
    address = fields.String(metadata={"description": "where it came from"})


class SyslogLineSchema(Schema):
    """A line that a machine logged."""

    id = fields.Integer()
    machine_id = fields.Integer(
        allow_none=True, metadata={"description": "whose address it came from at the time; none: that is not known"}
    )
    rack_id = fields.Integer(allow_none=True, metadata={"description": "the rack that brought it"})
    address = fields.String(metadata={"description": "where it came from"})
    facility = fields.Method("name_facility", metadata={"enum": list(FACILITIES)})
    severity = fields.Method("name_severity", metadata={"enum": list(SEVERITIES)})
    host = fields.String(metadata={"description": "what the sender calls itself"})
    program = fields.String(metadata={"description": "as the sender says"})
    process = fields.String(metadata={"description": "as the sender says, mostly a number"})
    message = fields.String(metadata={"description": "at most 4096 characters, none of which controls a terminal"})
    at = fields.DateTime(metadata={"description": "when the rack got it"})

    def name_facility(self, line: Any) -> Any:
        """Its name."""
        return FACILITIES[line.facility]

    def name_severity(self, line: Any) -> Any:
        """Its name."""
        return SEVERITIES[line.severity]


class SyslogPage(Schema):
    """Lines of syslog, newest first."""

    items = fields.List(fields.Nested(SyslogLineSchema))
    next = fields.Integer(allow_none=True)
