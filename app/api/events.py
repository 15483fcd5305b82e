"""What happened, and who changed what."""

from __future__ import annotations

from typing import Any

from app.api.frame import PageQuery, Resource, allow, page
from app.api.schemas.event import ChangePage, EventPage, EventQuery
from app.identity import current_context
from app.services import events, machines

blueprint = Resource("events", "What happened, and who changed what")


@blueprint.get("/events")
@allow("viewer", "see events")
@blueprint.arguments(EventQuery, location="query")
@blueprint.response(200, EventPage)
def index(query: dict[str, Any]) -> Any:
    """Events of all machines and racks, oldest first, after an id."""
    found = events.after(
        current_context(), query["after"], query["limit"], level=query["level"], rack_id=query["rack_id"]
    )
    return page(found, query["limit"])


@blueprint.get("/audit")
@allow("admin", "read the audit")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, ChangePage)
def audit(query: dict[str, Any]) -> Any:
    """Who changed which desired state, oldest first, after an id."""
    return page(events.changes_after(current_context(), query["after"], query["limit"]), query["limit"])


@blueprint.get("/machines/<string:machine>/events")
@allow("viewer", "see events")
@blueprint.arguments(EventQuery, location="query")
@blueprint.response(200, EventPage)
def of_machine(query: dict[str, Any], machine: str) -> Any:
    """A machine's events, oldest first, after an id. Follow them live at `events/stream`."""
    context = current_context()
    machine_id = machines.get(context, machine).id
    return page(
        events.after(context, query["after"], query["limit"], machine_id=machine_id, level=query["level"]),
        query["limit"],
    )
