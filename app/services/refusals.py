"""What a rack would not run: which part of which offer, why, by whose change, what runs there instead, and what to do.

A service's newest apply says whether it is refused now.  Behind it stand the changes of desired state that made its
files what they are: those between the offer that first had these files and the offer before that one.  A retry or a
change of something else repeats the files, and is not to blame.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.models import Apply, ChangeEvent, Offer, RackChange

REFUSED = ("undone", "failed")
WHOLE_OFFER = "offer"
"""The service that racks name when they did not take an offer at all."""
APPLIES_LOOKED_AT, OFFERS_LOOKED_AT, CHANGES_SHOWN = 500, 50, 5
_LONGEST_VALUE = 60
STAGES = {
    "receive": "was not taken",
    "check": "was refused by the daemon's own checker",
    "swap": "could not be put in place",
    "activate": "was refused by the running daemon",
    "probe": "did not serve when it was asked as a client asks",
    "keep": "could not be kept",
    "interrupted": "was interrupted",
    "remove": "could not be removed",
}


@dataclass(frozen=True)
class Cause:
    """One change of desired state: whose, which, when. change_event_id is None where no audit row tells more."""

    actor: str
    what: str
    at: dt.datetime
    change_event_id: int | None = None

    @property
    def sentence(self) -> str:
        """As people read it."""
        return f"{self.actor}: {self.what}, {self.at:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True)
class Refusal:
    """A part of an offer that a rack does not run."""

    rack: str
    service: str
    offer_number: int
    outcome: str
    stage: str
    reason: str
    at: dt.datetime
    causes: tuple[Cause, ...]
    put_back: str

    @property
    def title(self) -> str:
        """What was refused, in a few words."""
        what = "as a whole" if self.service == WHOLE_OFFER else f"for {self.service}"
        return f"Offer {self.offer_number} {what} {STAGES.get(self.stage, f'failed at {self.stage}')}"

    @property
    def by(self) -> str:
        """Whose changes stand behind it."""
        return "; ".join(cause.sentence for cause in self.causes) or "no change of desired state is known"

    @property
    def remedy(self) -> str:
        """What to do."""
        retry = f"`muster rack retry {self.rack}` tries again"
        if self.stage == "receive":
            return "Mend what the reason names; the rack looks again by itself."
        if self.stage == "interrupted":
            return f"The rack tries again by itself; if it does not, {retry}."
        return f"Correct the change, which makes a new offer. If the rack host is to blame, mend it; then {retry}."


def of_rack(session: Session, rack_id: int, rack: str) -> list[Refusal]:
    """What a rack refuses now, by service. A constant number of queries."""
    recent = select(Apply.id, Apply.service).where(Apply.rack_id == rack_id).order_by(Apply.id.desc())
    last = recent.limit(APPLIES_LOOKED_AT).subquery()
    newest = select(func.max(last.c.id)).group_by(last.c.service)
    applies = list(session.scalars(select(Apply).where(Apply.id.in_(newest)).order_by(Apply.service)))
    latest = max((apply.id for apply in applies), default=0)
    refused = [
        apply for apply in applies if apply.outcome in REFUSED and (apply.service != WHOLE_OFFER or apply.id == latest)
    ]
    return _explain(session, rack_id, rack, refused)


def of_apply(session: Session, rack: str, apply: Apply) -> Refusal:
    """One refusal, as it is reported."""
    return _explain(session, apply.rack_id, rack, [apply])[0]


def _explain(session: Session, rack_id: int, rack: str, applies: Sequence[Apply]) -> list[Refusal]:
    if not applies:
        return []
    highest = max(apply.offer_number for apply in applies)
    statement = (
        select(Offer.number, Offer.generation, Offer.digests)
        .where(Offer.rack_id == rack_id, Offer.number <= highest)
        .order_by(Offer.number.desc())
        .limit(OFFERS_LOOKED_AT)
    )
    offers = [(row.number, row.generation, row.digests) for row in session.execute(statement)]
    spans = [_span(offers, apply.service, apply.offer_number) for apply in applies]
    causes = _causes(session, rack_id, spans)
    return [
        Refusal(
            rack=rack,
            service=apply.service,
            offer_number=apply.offer_number,
            outcome=apply.outcome,
            stage=apply.stage,
            reason=apply.reason or "the rack gave no reason",
            at=apply.at,
            causes=tuple(cause for generation, cause in causes if span[0] < generation <= span[1])[-CHANGES_SHOWN:],
            put_back=_put_back(apply, offers),
        )
        for apply, span in zip(applies, spans, strict=True)
    ]


def _span(offers: list[tuple[int, int, dict[str, Any]]], service: str, number: int) -> tuple[int, int]:
    """The generations (after, up to) whose changes made a service's files what an offer asks for. Offers: newest first."""
    mine = [offer for offer in offers if offer[0] <= number]
    if not mine or mine[0][0] != number:
        return 0, 0
    digest = mine[0][2].get(service)
    first = mine[0]
    for offer in mine[1:]:
        if service == WHOLE_OFFER or offer[2].get(service) != digest:
            return offer[1], first[1]
        first = offer
    return (first[1] - 1 if len(mine) == OFFERS_LOOKED_AT else 0), first[1]


def _causes(session: Session, rack_id: int, spans: list[tuple[int, int]]) -> list[tuple[int, Cause]]:
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    if high <= low:
        return []
    statement = (
        select(RackChange, ChangeEvent)
        .outerjoin(ChangeEvent, ChangeEvent.id == RackChange.change_event_id)
        .where(RackChange.rack_id == rack_id, RackChange.generation > low, RackChange.generation <= high)
        .order_by(RackChange.id.desc())
        .limit(OFFERS_LOOKED_AT * CHANGES_SHOWN)
    )
    found = []
    for change, audit in session.execute(statement):
        what = _what(audit) if audit is not None else "reported a change of its own"
        found.append((change.generation, Cause(change.actor, what, change.at, change.change_event_id)))
    return found[::-1]


def causes_of(session: Session, change_ids: Sequence[int]) -> list[Cause]:
    """The changes of these ids, oldest first. One query."""
    statement = select(ChangeEvent).where(ChangeEvent.id.in_(change_ids)).order_by(ChangeEvent.id)
    return [Cause(audit.actor, _what(audit), audit.at, audit.id) for audit in session.scalars(statement)]


def _what(audit: ChangeEvent) -> str:
    """`update subnet 3 (lease_seconds 600 -> 900)`."""
    number = f" {audit.thing_id}" if audit.thing_id is not None else ""
    details = ", ".join(f"{name} {_value(value)}" for name, value in audit.detail.items())
    return f"{audit.verb} {audit.thing}{number}" + (f" ({details})" if details else "")


def _value(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{_value(value[0])} -> {_value(value[1])}"
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _put_back(apply: Apply, offers: list[tuple[int, int, dict[str, Any]]]) -> str:
    if apply.service == WHOLE_OFFER:
        return "Nothing was touched: the rack goes on with what it had."
    before = [number for number, _, digests in offers if number < apply.offer_number]
    same = [number for number in before if _digest(offers, number, apply.service) == apply.digest]
    files = f"the files of offer {same[0]}" if same and apply.digest else "the files it had before"
    if apply.digest is None:
        return f"There was nothing to put back: {apply.service} does not run on this rack."
    if apply.outcome == "failed" and apply.digest == _digest(offers, apply.offer_number, apply.service):
        return f"There was nothing to put back: {apply.service} runs the new files, and does not serve."
    if apply.stage in ("check", "remove"):
        return f"Nothing was touched: {apply.service} goes on with {files}."
    if apply.undone_ok is False:
        return f"{files.capitalize()} were put back, but {apply.service} does not serve as before: look at it now."
    return f"{files.capitalize()} were put back and serve."


def _digest(offers: list[tuple[int, int, dict[str, Any]]], number: int, service: str) -> Any:
    return next((digests.get(service) for found, _, digests in offers if found == number), None)
