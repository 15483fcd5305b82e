"""Names that installed machines still call themselves after their domain, or they, were renamed.

DNS has the new name as soon as racks have taken the change; what a machine was installed with stays on its disk.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services.context import Context
from app.services.domains import domain_row
from app.store.models import Domain, InstalledName, Machine
from app.store.prepared import Prepared
from app.store.queries.page import page

_FORGET = Prepared(delete(InstalledName).where(InstalledName.machine_id == bindparam("machine_id")))
_NOTE = Prepared(insert(InstalledName), "machine_id", "name", "at")


@dataclass(frozen=True)
class StaleName:
    """A deployed machine that was installed under another name than it has now."""

    id: int
    machine_id: int
    hostname: str
    installed_name: str
    name: str
    installed_at: dt.datetime


def note(session: Session, context: Context, machine_id: int, name: str) -> None:
    """Remember the name that the system is installed with; that of an earlier one is forgotten."""
    _FORGET.run(session, machine_id=machine_id)
    _NOTE.run(session, machine_id=machine_id, name=name, at=context.clock())


def stale(context: Context, domain_id: int, after: int | None = None, limit: int | None = None) -> list[StaleName]:
    """Deployed machines of a domain that were installed under another name, a page by id."""
    context.require("viewer", "see domains")
    now = Machine.hostname + "." + Domain.name
    statement: Any = (
        select(
            InstalledName.id,
            InstalledName.machine_id,
            Machine.hostname,
            InstalledName.name.label("installed"),
            now.label("now"),
            InstalledName.at,
        )
        .join(Machine, Machine.id == InstalledName.machine_id)
        .join(Domain, Domain.id == Machine.domain_id)
        .where(Domain.id == domain_id, Machine.state == State.DEPLOYED, InstalledName.name != now)
    )
    with context.store.read() as session:
        domain_row(session, domain_id)
        rows = session.execute(page(statement, InstalledName.id, after, limit))
        return [StaleName(row.id, row.machine_id, row.hostname, row.installed, row.now, row.at) for row in rows]
