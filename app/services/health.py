"""Whether the control plane can work, said check by check.

Vital checks (database, schema, key) decide whether this process can answer at all.  A missing region worker is no reason to
send people elsewhere, because no other web server would have one either: then the control plane is degraded.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
from dataclasses import dataclass
from functools import cache

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from app.services import broker, offers, settings
from app.services.context import Context
from app.store import migrate
from app.store.models import Counter, Worker

SIGN_SECONDS = 15
"""How often a region worker gives a sign of life."""
PATIENCE = dt.timedelta(seconds=90)
FORGET = dt.timedelta(days=1)
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; said: what was found, for people, with no address and no secret."""

    name: str
    ok: bool
    said: str
    vital: bool = True


def database_answers(context: Context) -> bool:
    """Whether a row can be read; the reason why not goes to the log."""
    try:
        with context.store.read() as session:
            session.execute(select(Counter.name).limit(1)).all()
    except SQLAlchemyError as error:
        log.error("database.away", reason=str(error.__cause__ or error))
        return False
    return True


def checks(context: Context) -> list[Check]:
    """Everything that is looked at, the cheapest first; what a wrong one would make meaningless is left out."""
    if not database_answers(context):
        return [Check("database", False, "the database does not answer; look at the log for the reason")]
    found = [Check("database", True, "the database answers"), _schema(context)]
    return [*found, _key(context), _worker(context), *_broker(context)] if found[-1].ok else found


def sign(context: Context, started_at: dt.datetime) -> None:
    """Note that this region worker lives; workers that were not seen for a day are forgotten."""
    now = context.clock()
    name = f"{socket.gethostname()}:{os.getpid()}"
    with context.store.write() as session:
        row = session.get(Worker, name)
        if row is None or row.started_at != started_at:
            row = session.merge(Worker(name=name, started_at=started_at, seen_at=now, looks=0))
        row.seen_at, row.looks = now, row.looks + 1
        session.execute(delete(Worker).where(Worker.seen_at < now - FORGET))


@cache
def _wanted() -> str | None:
    return migrate.newest()


def _schema(context: Context) -> Check:
    have = migrate.current(context.store.engine)
    if have == _wanted():
        return Check("schema", True, f"the schema is at {have}")
    said = f"the database's schema is at {have}, this version needs {_wanted()}; run `muster db upgrade`"
    return Check("schema", False, said)


def _key(context: Context) -> Check:
    with context.store.read() as session:
        sealed = str(settings.get(session, offers.OFFER_KEY, {}).get("private") or "")
    try:
        if sealed:
            context.secrets.open(sealed)
    except (ValueError, OSError) as error:
        log.error("key.unreadable", reason=str(error))
        said = "secrets of the database cannot be opened with this host's secret-key file; put the right file in place"
        return Check("key", False, said)
    return Check("key", True, "stored secrets can be opened" if sealed else "there is no stored secret yet")


def _broker(context: Context) -> list[Check]:
    """Nothing while all is well: most sites have no users to keep."""
    if broker.are_kept(context):
        return []
    said = "racks' users cannot be kept at the broker; run `muster broker check` where the region worker runs"
    return [Check("broker", False, said, vital=False)]


def _worker(context: Context) -> Check:
    with context.store.read() as session:
        seen = session.scalar(select(func.max(Worker.seen_at)))
    remedy = "see that `python -m workers.region` runs"
    if seen is None:
        return Check("worker", False, f"no region worker was ever seen; {remedy}", vital=False)
    age = context.clock() - seen
    if age > PATIENCE:
        said = f"no region worker was seen for {age.total_seconds():.0f} s; {remedy}"
        return Check("worker", False, said, vital=False)
    return Check("worker", True, f"a region worker was seen {max(0.0, age.total_seconds()):.0f} s ago", vital=False)
