"""Settings of the whole installation."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from app.api.frame import Resource, allow
from app.identity import current_context
from app.services import settings

blueprint = Resource("settings", "Settings of the installation")


class SettingsSchema(Schema):
    """All settings by name."""

    settings = fields.Dict(keys=fields.String(), values=fields.Dict())


class SettingSchema(Schema):
    """One setting's value."""

    value = fields.Dict(required=True)


@blueprint.get("/settings")
@allow("viewer", "see settings")
@blueprint.response(200, SettingsSchema)
def index() -> Any:
    """All settings: enrolment_policy, dns_forwarders, ntp_upstreams, retention."""
    return {"settings": settings.show(current_context())}


@blueprint.put("/settings/<string:name>")
@allow("admin", "change settings")
@blueprint.arguments(SettingSchema)
@blueprint.response(200, SettingSchema)
def change(body: dict[str, Any], name: str) -> Any:
    """Set one."""
    return {"value": settings.change(current_context(), name, body["value"])}
