"""Guessing passwords is slow, whichever process is asked.

Attempts are counted in the database before the password is looked at, so that many at once count too: for a name from
one address, for a name from anywhere, and for an address whatever the name.  Cost is constant; a name is kept as a
digest, because people type passwords into the wrong field.  An unknown name counts as a known one does.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.services.context import Context
from app.services.errors import TooMany
from app.store.models import LoginAttempts

WITHIN = dt.timedelta(minutes=5)
MOST = {"both": 10, "name": 100, "address": 200}
"""An address may be that of a proxy with many people behind it."""
PRUNED_AT_ONCE = 100


@contextmanager
def attempt(context: Context, name: str, address: str) -> Iterator[None]:
    """One attempt, which counts as failed unless the block ends well. TooMany when there were too many before it."""
    subjects = _subjects(name, address)
    for subject, (count, until) in _counts(context, list(subjects)).items():
        _refuse(context, subjects[subject], count + 1, until)
    with context.store.write() as session:
        # In one order for all, so that two at once do not wait for each other.
        for subject in sorted(subjects):
            _refuse(context, subjects[subject], *_count(session, context, subject))
        _prune(session, context)
    yield
    with context.store.write() as session:
        both = next(subject for subject, kind in subjects.items() if kind == "both")
        for subject in sorted(subjects):
            if subject == both:
                session.execute(delete(LoginAttempts).where(LoginAttempts.subject == both))
            else:
                less = update(LoginAttempts).where(LoginAttempts.subject == subject, LoginAttempts.count > 0)
                session.execute(less.values(count=LoginAttempts.count - 1))


def _subjects(name: str, address: str) -> dict[str, str]:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return {f"both:{digest}:{address}": "both", f"name:{digest}": "name", f"address:{address}": "address"}


def _counts(context: Context, subjects: list[str]) -> dict[str, tuple[int, dt.datetime]]:
    with context.store.read() as session:
        statement = select(LoginAttempts.subject, LoginAttempts.count, LoginAttempts.until)
        rows = session.execute(statement.where(LoginAttempts.subject.in_(subjects))).all()
    return {subject: (count, until) for subject, count, until in rows}


def _refuse(context: Context, kind: str, count: int, until: dt.datetime) -> None:
    """TooMany when this attempt, the `count`th until then, is one too many."""
    now = context.clock()
    if until > now and count > MOST[kind]:
        seconds = math.ceil((until - now).total_seconds())
        raise TooMany(
            f"too many attempts to sign in within {WITHIN.total_seconds() / 60:.0f} minutes; wait {seconds} s and try again",
            retry_seconds=seconds,
            rule=f"at most {MOST['both']} wrong passwords for a name in {WITHIN.total_seconds() / 60:.0f} minutes",
            remedy="wait, or ask an administrator to reset the password",
        )


def _count(session: Session, context: Context, subject: str) -> tuple[int, dt.datetime]:
    """One more; from one again when the time of the earlier ones is over. How many now, and until when they count."""
    now = context.clock()
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(LoginAttempts).values(subject=subject, count=1, until=now + WITHIN)
    session.execute(
        update(LoginAttempts)
        .where(LoginAttempts.subject == subject, LoginAttempts.until <= now)
        .values(count=0, until=now + WITHIN)
    )
    more = statement.on_conflict_do_update(index_elements=["subject"], set_={"count": LoginAttempts.count + 1})
    row = session.execute(more.returning(LoginAttempts.count, LoginAttempts.until)).one()
    return int(row[0]), row[1]


def _prune(session: Session, context: Context) -> None:
    old = select(LoginAttempts.subject).where(LoginAttempts.until <= context.clock()).limit(PRUNED_AT_ONCE)
    old = old.with_for_update(skip_locked=True)
    session.execute(delete(LoginAttempts).where(LoginAttempts.subject.in_(old)))
