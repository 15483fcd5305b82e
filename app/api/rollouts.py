"""Rollouts: a change that many racks are to take goes to one, then in waves, and stops where one refuses it."""

from __future__ import annotations

from typing import Any

from app.api.frame import Resource, allow, page
from app.api.schemas.rollout import RolloutPage, RolloutQuery, RolloutSchema
from app.identity import current_context
from app.services import rollouts

blueprint = Resource("rollouts", "Changes on their way to many racks")


@blueprint.get("/rollouts")
@allow("viewer", "list rollouts")
@blueprint.arguments(RolloutQuery, location="query")
@blueprint.response(200, RolloutPage)
def index(query: dict[str, Any]) -> Any:
    """List rollouts; at most one is running or halted."""
    return page(rollouts.find(current_context(), **query), query["limit"])


@blueprint.get("/rollouts/<int:rollout_id>")
@allow("viewer", "see rollouts")
@blueprint.shows(RolloutSchema)
def show(rollout_id: int) -> Any:
    """See a rollout: how far it is, where it stopped and why, which racks have it."""
    return rollouts.get(current_context(), rollout_id)


@blueprint.post("/rollouts/<int:rollout_id>/continue")
@allow("operator", "continue rollouts")
@blueprint.response(202, RolloutSchema)
def go_on(rollout_id: int) -> Any:
    """Let a halted rollout go on without the rack that stopped it. 409 when it is not halted."""
    return rollouts.go_on(current_context(), rollout_id)
