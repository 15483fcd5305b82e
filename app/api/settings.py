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
    """One setting."""

    name = fields.String()
    value = fields.Dict()


class NewSettingSchema(Schema):
    """A setting's new value."""

    value = fields.Dict(required=True)


@blueprint.get("/settings")
@allow("viewer", "see settings")
@blueprint.shows(SettingsSchema)
def index() -> Any:
    """All settings: enrolment_policy, dns_forwarders, ntp_upstreams, proxy, retention and others."""
    return {"settings": settings.show(current_context())}


@blueprint.get("/settings/<string:name>")
@allow("viewer", "see settings")
@blueprint.shows(SettingSchema)
def show(name: str) -> Any:
    """See one setting."""
    return settings.one(current_context(), name)


@blueprint.put("/settings/<string:name>")
@allow("admin", "change settings")
@blueprint.arguments(NewSettingSchema)
@blueprint.response(200, SettingSchema)
def change(body: dict[str, Any], name: str) -> Any:
    """Set one."""
    return settings.change(current_context(), name, body["value"])
