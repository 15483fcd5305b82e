"""Searching the journal: what happened, and the audit of who changed what, by whom, what and when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import select

from app.services.context import Context
from app.services.events import LEVELS
from app.store.models import ChangeEvent, Event
from app.store.queries.page import page


@dataclass(frozen=True)
class EventFilters:
    """What to look for; None means any. level: this one or a graver one. since, until: both ends included."""

    machine_id: int | None = None
    rack_id: int | None = None
    kind: str | None = None
    level: str | None = None
    text: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True)
class ChangeFilters:
    """What to look for; None means any. since, until: both ends included."""

    actor: str | None = None
    verb: str | None = None
    thing: str | None = None
    thing_id: int | None = None
    request_id: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


def events(context: Context, filters: EventFilters, after: int = 0, limit: int = 100) -> list[Event]:
    """A page of events, oldest first, after an id. text: part of the message."""
    context.require("viewer", "see events")
    wanted = {"machine_id": filters.machine_id, "rack_id": filters.rack_id, "kind": filters.kind}
    statement = select(Event).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if filters.level is not None:
        statement = statement.where(Event.level.in_(LEVELS[LEVELS.index(filters.level) :]))
    if filters.text:
        statement = statement.where(Event.message.icontains(filters.text, autoescape=True))
    if filters.since is not None:
        statement = statement.where(Event.at >= filters.since)
    if filters.until is not None:
        statement = statement.where(Event.at <= filters.until)
    with context.store.read() as session:
        return list(session.scalars(page(statement, Event.id, after, limit)))


def changes(context: Context, filters: ChangeFilters, after: int = 0, limit: int = 100) -> list[ChangeEvent]:
    """A page of the audit, oldest first, after an id."""
    context.require("admin", "read the audit")
    wanted = {
        "actor": filters.actor,
        "verb": filters.verb,
        "thing": filters.thing,
        "thing_id": filters.thing_id,
        "request_id": filters.request_id,
    }
    statement = select(ChangeEvent).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if filters.since is not None:
        statement = statement.where(ChangeEvent.at >= filters.since)
    if filters.until is not None:
        statement = statement.where(ChangeEvent.at <= filters.until)
    with context.store.read() as session:
        return list(session.scalars(page(statement, ChangeEvent.id, after, limit)))
