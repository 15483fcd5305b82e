"""What happened, and who changed what."""

from __future__ import annotations

from typing import Any

from app.api.frame import Resource, allow, page
from app.api.schemas.event import ChangePage, ChangeQuery, EventPage, EventQuery, MachineEventQuery
from app.identity import current_context
from app.services import journal, machines
from app.services.context import Context
from app.services.journal import ChangeFilters, EventFilters

blueprint = Resource("events", "What happened, and who changed what")


@blueprint.get("/events")
@allow("viewer", "see events")
@blueprint.arguments(EventQuery, location="query")
@blueprint.response(200, EventPage)
def index(query: dict[str, Any]) -> Any:
    """Events of all machines and racks, oldest first, after an id; of one machine, rack, kind or time if asked."""
    context = current_context()
    machine = query.pop("machine", None)
    machine_id = machines.identify(context, machine) if machine else None
    return _page(context, query, machine_id)


@blueprint.get("/audit")
@allow("admin", "read the audit")
@blueprint.arguments(ChangeQuery, location="query")
@blueprint.response(200, ChangePage)
def audit(query: dict[str, Any]) -> Any:
    """Who changed which desired state, oldest first, after an id."""
    after, limit = query.pop("after"), query.pop("limit")
    return page(journal.changes(current_context(), ChangeFilters(**query), after, limit), limit)


@blueprint.get("/machines/<string:machine>/events")
@allow("viewer", "see events")
@blueprint.arguments(MachineEventQuery, location="query")
@blueprint.response(200, EventPage)
def of_machine(query: dict[str, Any], machine: str) -> Any:
    """A machine's events, oldest first, after an id. Follow them live at `events/stream`."""
    context = current_context()
    return _page(context, query, machines.identify(context, machine))


def _page(context: Context, query: dict[str, Any], machine_id: int | None) -> dict[str, Any]:
    after, limit = query.pop("after"), query.pop("limit")
    return page(journal.events(context, EventFilters(machine_id=machine_id, **query), after, limit), limit)
