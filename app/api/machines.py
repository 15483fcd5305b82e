"""Machines: list, see, add by hand, change, delete. Lifecycle verbs are in `lifecycle`, switching in `power`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import current_app, request

from app.api import list_tags
from app.api.answers import unchanged
from app.api.frame import NO_CONTENT, Resource, allow, wanted_fields, written_page
from app.api.schemas.machine import (
    MachineChangeSchema,
    MachinePage,
    MachineQuery,
    MachineSchema,
    NewMachineSchema,
    WholeMachineSchema,
)
from app.identity import current_context
from app.services import machines, versions
from app.services.machines import MachineFilters


class Whole:
    """A machine, its disks and its operation as one thing to show."""

    def __init__(self, machine: Any, disks: Sequence[Any], operation: Any) -> None:
        self.machine, self.disks, self.operation = machine, disks, operation
        self.shown_version = versions.of(machine)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.machine, name)


blueprint = Resource("machines", "Servers whose lifecycle Muster drives")


@blueprint.get("/machines")
@allow("viewer", "list machines")
@blueprint.arguments(MachineQuery, location="query")
@blueprint.response(200, MachinePage)
def index(query: dict[str, Any]) -> Any:
    """List machines in id order."""
    context = current_context()
    after, limit = query.pop("after"), query.pop("limit")
    filters = MachineFilters(states=tuple(query.pop("state")), tags=tuple(query.pop("tag")), **query)
    revision, known = machines.list_revision(context), list_tags.of(current_app)
    asked = request.query_string
    tag = known.get(asked, revision)
    if tag is not None and (same := unchanged(tag)) is not None:
        return same
    found = machines.listed(context, filters, after, limit, only=wanted_fields())
    return written_page(found, limit, lambda made: known.put(context, asked, revision, made))


@blueprint.post("/machines")
@allow("operator", "add machines")
@blueprint.arguments(NewMachineSchema)
@blueprint.response(201, MachineSchema)
def create(body: dict[str, Any]) -> Any:
    """Make a machine known by hand; machines also enlist themselves."""
    context = current_context()
    return machines.create(context, body.pop("macs"), **body)


@blueprint.get("/machines/<string:machine>")
@allow("viewer", "see machines")
@blueprint.shows(WholeMachineSchema)
def show(machine: str) -> Any:
    """See a machine by id or hostname."""
    context = current_context()
    found = machines.get(context, machine)
    wanted = wanted_fields()
    disks = machines.disks(context, found.id) if wanted is None or "disks" in wanted else []
    operation = machines.operation(context, found.id) if wanted is None or "operation" in wanted else None
    return Whole(found, disks, operation)


@blueprint.patch("/machines/<string:machine>")
@allow("operator", "change machines")
@blueprint.arguments(MachineChangeSchema)
@blueprint.response(200, MachineSchema)
def change(body: dict[str, Any], machine: str) -> Any:
    """Change a machine. With If-Match only if it is still at that version."""
    context = current_context()
    return machines.update(context, machines.identify(context, machine), **body)


@blueprint.delete("/machines/<string:machine>")
@allow("admin", "delete machines")
@blueprint.response(204)
def delete(machine: str) -> Any:
    """Forget a machine that nobody uses."""
    context = current_context()
    machines.delete(context, machines.identify(context, machine))
    return NO_CONTENT
