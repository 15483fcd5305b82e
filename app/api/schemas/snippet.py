"""DHCP snippets, their history, and what checkers say of them."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Boolean, Id, Integer, Reference, Switch
from app.services.snippet_rules import KINDS, LONGEST_BODY, LONGEST_NAME, SCOPES

Kind = validate.OneOf(KINDS)
Scope = validate.OneOf(SCOPES)
Name = validate.Length(min=1, max=LONGEST_NAME)
Body = validate.Length(min=1, max=LONGEST_BODY)
FORCE = {"description": "save it even where no checker could judge it; what a checker refuses is never saved"}
KIND = {
    "description": "option: lines of `NAME VALUE`, for every server; kea4, kea6: a JSON object that is merged into the scope;"
    " dhcpd: text of dhcpd.conf"
}


class SnippetQuery(PageQuery):
    """Which snippets."""

    name = fields.String()
    kind = fields.String(validate=Kind)
    scope = fields.String(validate=Scope)
    enabled = Switch()
    checked = Switch()
    vlan_id = Id()
    subnet_id = Id()
    range_id = Id()
    machine_id = Id()


class SnippetSchema(Schema):
    """What is added to DHCP in one scope."""

    id = fields.Integer()
    name = fields.String()
    description = fields.String()
    kind = fields.String(validate=Kind)
    scope = fields.String(validate=Scope)
    vlan_id = fields.Integer(allow_none=True)
    subnet_id = fields.Integer(allow_none=True)
    range_id = fields.Integer(allow_none=True)
    machine_id = fields.Integer(allow_none=True)
    body = fields.String()
    enabled = fields.Boolean()
    checked = fields.Boolean(
        metadata={"description": "false: no checker has judged it; it was saved by force, or in part"}
    )
    checked_by = fields.String(
        allow_none=True, metadata={"description": "whose checkers have judged it, for which rack, and where"}
    )
    revision = fields.Integer()
    created_at = fields.DateTime()


class SnippetPage(Schema):
    """Snippets."""

    items = fields.List(fields.Nested(SnippetSchema))
    next = fields.Integer(allow_none=True)


class CheckSnippetSchema(Schema):
    """A snippet to be judged."""

    kind = fields.String(required=True, validate=Kind, metadata=KIND)
    scope = fields.String(required=True, validate=Scope)
    vlan_id = Reference(load_default=None, allow_none=True)
    subnet_id = Reference(load_default=None, allow_none=True)
    range_id = Reference(load_default=None, allow_none=True)
    machine_id = Reference(load_default=None, allow_none=True)
    body = fields.String(required=True, validate=Body)
    snippet_id = Reference(
        load_default=None, allow_none=True, metadata={"description": "the snippet whose place it would take"}
    )


class NewSnippetSchema(CheckSnippetSchema):
    """A snippet to be."""

    class Meta:
        """Nothing is there yet whose place it could take."""

        exclude = ("snippet_id",)

    name = fields.String(required=True, validate=Name)
    description = fields.String(load_default="", validate=validate.Length(max=1000))
    enabled = Boolean(load_default=True)
    force = Boolean(load_default=False, metadata=FORCE)


class SnippetChangeSchema(Schema):
    """What may change of a snippet; what it is for stays."""

    name = fields.String(validate=Name)
    description = fields.String(validate=validate.Length(max=1000))
    body = fields.String(validate=Body)
    enabled = Boolean()
    force = Boolean(metadata=FORCE)


class RevertSchema(Schema):
    """Which body comes back."""

    revision = Integer(required=True, validate=validate.Range(min=1, max=2**31 - 1))
    force = Boolean(load_default=False, metadata=FORCE)


class RevisionSchema(Schema):
    """A snippet's body as it was."""

    id = fields.Integer()
    revision = fields.Integer()
    body = fields.String()
    actor = fields.String()
    at = fields.DateTime()


class RevisionPage(Schema):
    """Revisions."""

    items = fields.List(fields.Nested(RevisionSchema))
    next = fields.Integer(allow_none=True)


class FindingSchema(Schema):
    """One thing that is wrong."""

    message = fields.String()
    line = fields.Integer(allow_none=True, metadata={"description": "of the body, from 1, where it can be told"})
    rack = fields.String(metadata={"description": "whose configuration was refused; empty for Muster's own rules"})
    program = fields.String(metadata={"description": "whose checker refused it; empty for Muster's own rules"})


class VerdictSchema(Schema):
    """What came of a check."""

    ok = fields.Boolean(metadata={"description": "nothing is wrong, as far as it was checked"})
    findings = fields.List(fields.Nested(FindingSchema))
    checked = fields.List(fields.String(), metadata={"description": "which checker has judged it for which rack"})
    unchecked = fields.List(fields.String(), metadata={"description": "what nobody has judged, and why"})


class OptionSchema(Schema):
    """An option that has a name."""

    name = fields.String()
    family = fields.Integer(metadata={"description": "4 or 6"})
    code = fields.Integer()
    value = fields.String(metadata={"description": "what its value is"})


class OptionList(Schema):
    """All options that have a name."""

    items = fields.List(fields.Nested(OptionSchema))
