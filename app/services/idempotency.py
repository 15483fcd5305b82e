"""Requests that are carried out once, however often they are sent.

The change and its answer are written in one transaction: after a crash either both are there or neither is, so a
repeated request gives the same answer and never does the thing twice.  Only answers of requests that succeeded are
kept: a refused one has changed nothing and may be sent again.  Answers are sealed, because they may show a secret.

On PostgreSQL a repetition that arrives while the first is under way is refused; on SQLite, which has one writer, it
waits for the first and gets its answer.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Forbidden, Invalid
from app.store.locks import try_hold
from app.store.models import IdempotencyKey
from app.store.unit_of_work import JoinedStore

KEPT = dt.timedelta(hours=24)
MOST_OF_A_USER = 10_000
LARGEST_ANSWER = 1024 * 1024
PRUNED_AT_ONCE = 200
KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: str


def once(context: Context, key: str, fingerprint: str, run: Callable[[Context], Answer]) -> tuple[Answer, bool]:
    """Carry out `run` under this key of the caller, or find what it answered before; and whether it was found.

    fingerprint: a digest of the whole request.  Invalid when the key stands for another request, Conflict while the
    first one is under way.  `run` gets a context whose transactions are part of this one.
    """
    user_id = context.actor.user_id
    if user_id is None:
        raise Forbidden("only users repeat requests by Idempotency-Key; sign in as one")
    if not KEY.fullmatch(key):
        raise Invalid(
            "the Idempotency-Key is not 1 to 255 printable ASCII characters without spaces",
            field="Idempotency-Key",
            remedy="send a fresh UUID for each thing that is to be done once",
        )
    with changing(context) as session:
        if not try_hold(session, f"idempotency:{user_id}:{key}"):
            raise Conflict(
                "the first request with this Idempotency-Key is still under way",
                field="Idempotency-Key",
                rule="one request at a time for a key",
                remedy="wait a moment and send the same request again",
            )
        kept = _kept(session, context, user_id, key)
        if kept is not None:
            return _replayed(context, kept, fingerprint), True
        answer = run(replace(context, store=JoinedStore(context.store, session)))
        text = json.dumps(asdict(answer))
        if len(text) > LARGEST_ANSWER:
            raise Invalid("the answer is too large to be kept; leave the Idempotency-Key out", field="Idempotency-Key")
        row = IdempotencyKey(user_id=user_id, key=key, fingerprint=fingerprint, created_at=context.clock())
        row.answer = context.secrets.seal(text)
        session.add(row)
        session.flush()
        _prune(session, context, row)
        return answer, False


def _kept(session: Session, context: Context, user_id: int, key: str) -> IdempotencyKey | None:
    """The row of the key while it counts; one that is too old goes."""
    statement = select(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
    row = session.scalar(statement)
    if row is not None and row.created_at <= context.clock() - KEPT:
        session.delete(row)
        session.flush()
        return None
    return row


def _replayed(context: Context, row: IdempotencyKey, fingerprint: str) -> Answer:
    if row.fingerprint != fingerprint:
        raise Invalid(
            "this Idempotency-Key was used for another request",
            field="Idempotency-Key",
            rule="one key, one request",
            remedy="send the very same request again, or a new key for a new one",
        )
    try:
        return Answer(**json.loads(context.secrets.open(row.answer)))
    except ValueError as error:
        raise Conflict(
            "the request was carried out, but its answer cannot be read any more: the secret key has changed",
            remedy="read what it changed; do not send it again under another key",
        ) from error


def _prune(session: Session, context: Context, row: IdempotencyKey) -> None:
    """Forget what is too old, a little with every request; now and then also what is more than a user may keep."""
    old = select(IdempotencyKey.id).where(IdempotencyKey.created_at <= context.clock() - KEPT).limit(PRUNED_AT_ONCE)
    old = old.with_for_update(skip_locked=True)
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.id.in_(old)))
    if row.id % 100 == 0:
        own = select(IdempotencyKey.id).where(IdempotencyKey.user_id == row.user_id)
        bound = session.scalar(own.order_by(IdempotencyKey.id.desc()).offset(MOST_OF_A_USER).limit(1))
        if bound is not None:
            beyond = delete(IdempotencyKey).where(IdempotencyKey.user_id == row.user_id, IdempotencyKey.id <= bound)
            session.execute(beyond)
