"""Seals every stored secret anew with the newest key, in small batches, beside everything else that goes on.

`SEALED` names every place where the store keeps something sealed; a test fills all of them and looks for one that is not named.
The pass may be stopped and repeated: what is sealed with the newest key already is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.changes import audit, changing
from app.services.context import Context
from app.services.offers import OFFER_KEY
from app.store.models import Bmc, DnsSecondary, IdempotencyKey, Operation, Rack, Setting

BATCH = 200


class RotatingBox(Protocol):
    """A secret box whose newest key may change."""

    def reseal(self, sealed: str) -> str | None:
        """The same secret sealed with the newest key; None when it already is. ValueError if no key fits."""


@dataclass(frozen=True)
class Place:
    """Where secrets are kept: rows by a key that grows, and how to take one out and put it back."""

    name: str
    model: Any
    key: Any
    where: Callable[[], Any]
    get: Callable[[Any], str | None]
    put: Callable[[Any, str], None]


def reseal_all(context: Context, box: RotatingBox, batch: int = BATCH) -> int:
    """Go through all places once; how many secrets had an older key. ValueError names a row that no key opens."""
    context.require("admin", "rotate secrets")
    return sum(_reseal(context, box, place, batch) for place in SEALED)


def note(context: Context, what: str) -> None:
    """Write the rotation into the audit."""
    with changing(context) as session:
        audit(session, context, what, "secret_key", None)


def _reseal(context: Context, box: RotatingBox, place: Place, batch: int) -> int:
    changed, after = 0, None
    while True:
        with context.store.write() as session:
            rows = _rows(session, place, after, batch)
            for row in rows:
                sealed = place.get(row)
                try:
                    fresh = box.reseal(sealed) if sealed else None
                except ValueError as error:
                    raise ValueError(f"{place.name} {getattr(row, place.key.key)}: {error}") from error
                if fresh is not None:
                    place.put(row, fresh)
                    changed += 1
        if len(rows) < batch:
            return changed
        after = getattr(rows[-1], place.key.key)


def _rows(session: Session, place: Place, after: Any, batch: int) -> list[Any]:
    statement = select(place.model).where(place.where()).order_by(place.key).limit(batch)
    if after is not None:
        statement = statement.where(place.key > after)
    return list(session.scalars(statement.with_for_update(of=place.model)))


def _put_bmc(row: Bmc, sealed: str) -> None:
    row.secrets = sealed


def _put_user_data(row: Operation, sealed: str) -> None:
    row.parameters = {**row.parameters, "user_data": sealed}


def _put_transfer_key(row: DnsSecondary, sealed: str) -> None:
    row.secret = sealed


def _put_broker_password(row: Rack, sealed: str) -> None:
    row.broker_password = sealed


def _put_offer_key(row: Setting, sealed: str) -> None:
    row.value = {**row.value, "private": sealed}


def _put_answer(row: IdempotencyKey, sealed: str) -> None:
    row.answer = sealed


SEALED = (
    Place("BMC", Bmc, Bmc.id, lambda: Bmc.secrets.is_not(None), lambda row: row.secrets, _put_bmc),
    Place(
        "operation", Operation, Operation.id, lambda: Operation.action == "deploy",
        lambda row: row.parameters.get("user_data"), _put_user_data,
    ),
    Place(
        "setting", Setting, Setting.name, lambda: Setting.name == OFFER_KEY, lambda row: row.value.get("private"),
        _put_offer_key,
    ),
    Place(
        "DNS secondary", DnsSecondary, DnsSecondary.id, lambda: DnsSecondary.secret != "", lambda row: row.secret,
        _put_transfer_key,
    ),
    Place(
        "rack", Rack, Rack.id, lambda: Rack.broker_password.is_not(None), lambda row: row.broker_password,
        _put_broker_password,
    ),
    Place(
        "idempotency key", IdempotencyKey, IdempotencyKey.id, lambda: IdempotencyKey.answer != "",
        lambda row: row.answer, _put_answer,
    ),
)  # fmt: skip
