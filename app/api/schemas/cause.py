"""Who stands behind what a rack is asked to run."""

from __future__ import annotations

from marshmallow import Schema, fields


class CauseSchema(Schema):
    """One change of desired state behind a refusal or a rollout."""

    actor = fields.String()
    what = fields.String()
    at = fields.DateTime()
    change_event_id = fields.Integer(allow_none=True)
