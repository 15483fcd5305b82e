"""Is the control plane alive, and can it work? For whoever watches over it; says nothing else."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from app.api.frame import Resource, public
from app.identity import base_context
from app.services import health
from app.services.errors import Unavailable

blueprint = Resource("health", "Liveness and readiness")


class HealthSchema(Schema):
    """A word."""

    status = fields.String()


@blueprint.get("/health/live")
@public
@blueprint.response(200, HealthSchema)
def live() -> Any:
    """The process answers."""
    return {"status": "live"}


@blueprint.get("/health/ready")
@public
@blueprint.response(200, HealthSchema)
@blueprint.doc(responses={"503": "problem-503"})
def ready() -> Any:
    """The database answers too; 503 when it does not."""
    if not health.database_answers(base_context()):
        raise Unavailable("the database does not answer", remedy="look at the control plane's log")
    return {"status": "ready"}
