"""Where machines belong: zones, pools and tags; one set of verbs, because their rules are the same.

Everybody may see them, administrators change zones and pools, operators tags.  A zone or pool that machines are in is
not deleted; a tag is, and leaves its machines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services import versions
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.store.models import Device, Machine, Pool, Tag, Zone, machine_tag
from app.store.queries.page import page

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
LONGEST_NOTE = 1000


@dataclass(frozen=True)
class Kind:
    """One of the three. note: the column with words about it."""

    word: str
    model: type[Zone] | type[Pool] | type[Tag]
    note: str
    role: str


KINDS = {
    "zone": Kind("zone", Zone, "description", "admin"),
    "pool": Kind("pool", Pool, "description", "admin"),
    "tag": Kind("tag", Tag, "comment", "operator"),
}


@dataclass(frozen=True)
class Place:
    """A zone, pool or tag with the number of its machines."""

    id: int
    name: str
    note: str
    machines: int
    shown_version: str


def find(
    context: Context,
    word: str,
    after: int = 0,
    limit: int = 100,
    *,
    name: str | None = None,
    text: str | None = None,
) -> list[Place]:
    """A page of a kind in id order; the one of a name, or those with `text` in it, when they are given."""
    kind = KINDS[word]
    context.require("viewer", f"list {word}s")
    with context.store.read() as session:
        model = kind.model
        statement = select(model, _count(kind))
        if name is not None:
            statement = statement.where(model.name == name)
        if text:
            statement = statement.where(model.name.icontains(text, autoescape=True))
        statement = page(statement, model.id, after, limit)
        return [_place(kind, row, count) for row, count in session.execute(statement)]


def get(context: Context, word: str, place_id: int) -> Place:
    """One of a kind."""
    kind = KINDS[word]
    context.require("viewer", f"see {word}s")
    with context.store.read() as session:
        row = _one(session, kind, place_id)
        return _place(kind, row, session.scalar(select(_count(kind)).where(kind.model.id == place_id)) or 0)


def create(context: Context, word: str, name: str, note: str = "") -> Place:
    """A new zone, pool or tag."""
    kind = KINDS[word]
    context.require(kind.role, f"create {word}s")
    _check(kind, name, note)
    row: Any = kind.model(name=name, **{kind.note: note})
    try:
        with changing(context) as session:
            session.add(row)
            session.flush()
            audit(session, context, "create", word, row.id, name=name)
    except IntegrityError as error:
        raise Conflict(f"a {word} named {name!r} exists already; choose another name", field="name") from error
    return _place(kind, row, 0)


def update(context: Context, word: str, place_id: int, name: str | None = None, note: str | None = None) -> Place:
    """Rename it, or say something else about it."""
    kind = KINDS[word]
    context.require(kind.role, f"change {word}s")
    _check(kind, name, note)
    try:
        with changing(context) as session:
            row = _one(session, kind, place_id, held=True)
            versions.check(context, row, f"{word} {row.name}")
            row.name = row.name if name is None else name
            if note is not None:
                setattr(row, kind.note, note)
            session.flush()
            audit(session, context, "change", word, row.id, name=row.name)
    except IntegrityError as error:
        raise Conflict(f"a {word} named {name!r} exists already; choose another name", field="name") from error
    return get(context, word, place_id)


def delete(context: Context, word: str, place_id: int) -> None:
    """Remove it. Conflict while machines are in the zone or pool."""
    kind = KINDS[word]
    context.require(kind.role, f"delete {word}s")
    with changing(context) as session:
        row = _one(session, kind, place_id, held=True)
        versions.check(context, row, f"{word} {row.name}")
        if word == "tag":
            session.execute(delete_rows(machine_tag).where(machine_tag.c.tag_id == place_id))
        else:
            column = Machine.zone_id if word == "zone" else Machine.pool_id
            inside = session.scalars(select(Machine.hostname).where(column == place_id).limit(5)).all()
            if inside:
                raise Conflict(f"{word} {row.name} holds {', '.join(inside)}; move these machines first")
            if word == "zone":
                devices = session.scalars(select(Device.hostname).where(Device.zone_id == place_id).limit(5)).all()
                if devices:
                    raise Conflict(f"zone {row.name} holds {', '.join(devices)}; move these devices first")
            last = session.scalar(select(func.count()).select_from(kind.model)) == 1
            if last:
                raise Conflict(f"{word} {row.name} is the only one, and every machine is in one; make another first")
        audit(session, context, "delete", word, row.id, name=row.name)
        session.delete(row)


def _count(kind: Kind) -> Any:
    """A scalar subquery: machines in each."""
    if kind.word == "tag":
        rows = select(func.count()).select_from(machine_tag).where(machine_tag.c.tag_id == Tag.id)
        return rows.correlate(Tag).scalar_subquery()
    column = Machine.zone_id if kind.word == "zone" else Machine.pool_id
    rows = select(func.count()).select_from(Machine).where(column == kind.model.id)
    return rows.correlate(kind.model).scalar_subquery()


def _place(kind: Kind, row: Any, machines: int) -> Place:
    return Place(row.id, row.name, getattr(row, kind.note), machines, versions.of(row) or "")


def _one(session: Session, kind: Kind, place_id: int, held: bool = False) -> Any:
    """The row; held: nobody else changes it until the transaction ends."""
    row = session.get(kind.model, place_id, with_for_update=True if held else None)
    if row is None:
        raise NotFound(f"{kind.word} {place_id} does not exist; list the {kind.word}s", field=f"{kind.word}_id")
    return row


def _check(kind: Kind, name: str | None, note: str | None) -> None:
    if name is not None and not NAME.fullmatch(name):
        raise Invalid(
            f"{kind.word} name {name!r}: must be 1 to 63 letters, digits, . _ - and begin and end with a letter or digit",
            field="name",
            rule=NAME.pattern,
        )
    if note is not None and len(note) > LONGEST_NOTE:
        raise Invalid(f"the {kind.note} has {len(note)} characters; at most {LONGEST_NOTE}", field=kind.note)
