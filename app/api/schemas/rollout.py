"""Changes on their way to many racks."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.cause import CauseSchema

STATUSES = ("running", "halted", "done", "superseded")


class RolloutQuery(PageQuery):
    """Which rollouts."""

    status = fields.String(validate=validate.OneOf(STATUSES))


class RolloutRowSchema(Schema):
    """A rollout without its racks."""

    id = fields.Integer()
    status = fields.String(validate=validate.OneOf(STATUSES))
    cause = fields.String(metadata={"description": "change, or upgrade: Muster itself writes other files than before"})
    actor = fields.String()
    reason = fields.String(allow_none=True, metadata={"description": "why it was halted"})
    begun_at = fields.DateTime(allow_none=True)
    ended_at = fields.DateTime(allow_none=True)
    created_at = fields.DateTime()


class RackInRolloutSchema(Schema):
    """One rack of a rollout."""

    rack_id = fields.Integer()
    rack = fields.String()
    wave = fields.Integer(allow_none=True, metadata={"description": "from 1; null before the waves are made"})
    canary = fields.Boolean()
    status = fields.String(
        metadata={"description": "waiting, offered, kept, unchanged (nothing differs there), refused, passed (over)"}
    )
    services = fields.List(fields.String(), metadata={"description": "which the rollout changes there"})
    offer_number = fields.Integer(allow_none=True)
    reason = fields.String(allow_none=True)
    at = fields.DateTime()


class RolloutSchema(RolloutRowSchema):
    """A rollout: whose changes, how far it is, where it stopped and why, who has it and who has not."""

    causes = fields.List(fields.Nested(CauseSchema))
    wave = fields.Integer(allow_none=True, metadata={"description": "the last that has begun, from 1"})
    waves = fields.Integer()
    stopped_rack = fields.String(allow_none=True)
    sentence = fields.String()
    racks = fields.List(fields.Nested(RackInRolloutSchema))
    have = fields.List(fields.String())
    have_not = fields.List(fields.String())


class RolloutPage(Schema):
    """Rollouts."""

    items = fields.List(fields.Nested(RolloutRowSchema))
    next = fields.Integer(allow_none=True)
