"""What happened, for pages and programs, and the audit of who changed what.

Event ids are given before a transaction commits, so on PostgreSQL an event may become visible after one with a larger
id.  Who follows live reads through `app.services.event_tail`, which waits for those; lists do not.
"""

from __future__ import annotations

from sqlalchemy import select

from app.services.context import Context
from app.store.models import ChangeEvent, Event

LEVELS = ("debug", "info", "warning", "error")


def after(
    context: Context,
    cursor: int = 0,
    limit: int = 100,
    *,
    machine_id: int | None = None,
    rack_id: int | None = None,
    level: str | None = None,
    until: int | None = None,
) -> list[Event]:
    """Events with an id above `cursor` (and at most `until`), oldest first. level: this one or a graver one."""
    context.require("viewer", "see events")
    statement = select(Event).where(Event.id > cursor).order_by(Event.id).limit(limit)
    if until is not None:
        statement = statement.where(Event.id <= until)
    if machine_id is not None:
        statement = statement.where(Event.machine_id == machine_id)
    if rack_id is not None:
        statement = statement.where(Event.rack_id == rack_id)
    if level is not None:
        statement = statement.where(Event.level.in_(LEVELS[LEVELS.index(level) :]))
    with context.store.read() as session:
        return list(session.scalars(statement))


def newest(
    context: Context,
    limit: int = 100,
    *,
    machine_id: int | None = None,
    rack_id: int | None = None,
    level: str | None = None,
    before: int | None = None,
) -> list[Event]:
    """The last events (before an id), oldest first. level: this one or a graver one."""
    context.require("viewer", "see events")
    statement = select(Event).order_by(Event.id.desc()).limit(limit)
    if machine_id is not None:
        statement = statement.where(Event.machine_id == machine_id)
    if rack_id is not None:
        statement = statement.where(Event.rack_id == rack_id)
    if level is not None:
        statement = statement.where(Event.level.in_(LEVELS[LEVELS.index(level) :]))
    if before is not None:
        statement = statement.where(Event.id < before)
    with context.store.read() as session:
        return list(reversed(session.scalars(statement).all()))


def changes_after(context: Context, cursor: int = 0, limit: int = 100) -> list[ChangeEvent]:
    """The audit, oldest first, after an id."""
    context.require("admin", "read the audit")
    with context.store.read() as session:
        statement = select(ChangeEvent).where(ChangeEvent.id > cursor).order_by(ChangeEvent.id).limit(limit)
        return list(session.scalars(statement))


def newest_changes(context: Context, limit: int = 100, before: int | None = None) -> list[ChangeEvent]:
    """The audit's end (before an id), newest first."""
    context.require("admin", "read the audit")
    statement = select(ChangeEvent).order_by(ChangeEvent.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(ChangeEvent.id < before)
    with context.store.read() as session:
        return list(session.scalars(statement))
