"""What happened, for pages and programs that follow it, and the audit of who changed what.

Event ids are given before a transaction commits, so on PostgreSQL an event may become visible after one with a larger
id.  Who follows live therefore looks a little back and skips what was seen: see `LOOK_BACK`.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services.context import Context
from app.store.models import ChangeEvent, Event

LOOK_BACK = 50
LEVELS = ("debug", "info", "warning", "error")


def after(
    context: Context,
    cursor: int = 0,
    limit: int = 100,
    *,
    machine_id: int | None = None,
    rack_id: int | None = None,
    level: str | None = None,
) -> list[Event]:
    """Events with an id above `cursor`, oldest first. level: this one or a graver one."""
    context.require("viewer", "see events")
    statement = select(Event).where(Event.id > cursor).order_by(Event.id).limit(limit)
    if machine_id is not None:
        statement = statement.where(Event.machine_id == machine_id)
    if rack_id is not None:
        statement = statement.where(Event.rack_id == rack_id)
    if level is not None:
        statement = statement.where(Event.level.in_(LEVELS[LEVELS.index(level) :]))
    with context.store.read() as session:
        return list(session.scalars(statement))


def newest(
    context: Context, limit: int = 100, *, machine_id: int | None = None, rack_id: int | None = None
) -> list[Event]:
    """The last events, oldest first."""
    context.require("viewer", "see events")
    statement = select(Event).order_by(Event.id.desc()).limit(limit)
    if machine_id is not None:
        statement = statement.where(Event.machine_id == machine_id)
    if rack_id is not None:
        statement = statement.where(Event.rack_id == rack_id)
    with context.store.read() as session:
        return list(reversed(session.scalars(statement).all()))


def last_id(context: Context) -> int:
    """The largest event id, for whoever watches all machines with one question."""
    with context.store.read() as session:
        return _last(session)


def changes_after(context: Context, cursor: int = 0, limit: int = 100) -> list[ChangeEvent]:
    """The audit, oldest first, after an id."""
    context.require("admin", "read the audit")
    with context.store.read() as session:
        statement = select(ChangeEvent).where(ChangeEvent.id > cursor).order_by(ChangeEvent.id).limit(limit)
        return list(session.scalars(statement))


def _last(session: Session) -> int:
    return session.scalar(select(func.max(Event.id))) or 0
