"""A name lies in the nearest domain above it: servers answer from there, and what another domain says of it is never found.

RFC 1034, section 4.3.2.  So a domain is not made, or renamed, over names of one above it, and no record is added where a
domain below would hide it; hostnames are looked after by `app.services.hostnames`.  What a delegation needs stays: NS
records at the lower domain's own name.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.dns_data import owner_of
from app.services.errors import Conflict
from app.services.records import superseded
from app.store.models import DnsRecord, Domain, RecordChange

DELEGATION = "NS"
"""What a domain says of one below it, at that one's name."""
RULE = "a name lies in the nearest domain above it"


def refuse_hiding(session: Session, name: str, held: Iterable[str] = (), me: Domain | None = None) -> None:
    """Conflict when a domain of this name would hide names of one above it, or one below it would hide names of its own.

    held: absolute names that it would hold.  me: the domain that is to be called so; None for a new one.
    """
    mine = sorted(held)
    others = select(Domain.name) if me is None else select(Domain.name).where(Domain.id != me.id)
    for other in sorted(session.scalars(others)):
        if name.endswith(f".{other}"):
            hidden, zone, above = _hidden(session, other, name), name, other
        elif other.endswith(f".{name}"):
            hidden, zone, above = next((one for one in mine if _lies_in(one, other)), None), other, name
        else:
            continue
        if hidden is not None:
            called = f"domain {name}" if me is None else f"domain {me.name}: as {name}"
            raise Conflict(
                f"{called}, name {hidden[:-1]} of domain {above} would be looked for in domain {zone} and not be found;"
                " rename or delete that name first, or choose another name for the domain",
                field="name",
                rule=RULE,
            )


def refuse_hidden(session: Session, domain: Domain, touched: Iterable[DnsRecord]) -> None:
    """Conflict when one of the records lies in a domain below this one. One query."""
    below = session.scalars(
        select(Domain.name).where(Domain.name.endswith(f".{domain.name}", autoescape=True)).order_by(Domain.name)
    ).all()
    if not below:
        return
    for record in touched:
        owner = owner_of(record.name, domain.name)
        for zone in below:
            if _lies_in(owner, zone) and not (record.type == DELEGATION and owner == f"{zone}."):
                raise Conflict(
                    f"{record.type} record {record.name} in {domain.name}: {owner[:-1]} is looked for in domain {zone}, so"
                    " nobody would find it; add the record there",
                    field="name",
                    rule=RULE,
                    remedy=f"add it to domain {zone}",
                )


def _hidden(session: Session, above: str, zone: str) -> str | None:
    """A name of the domain above that lies in the zone."""
    keys = select(RecordChange.value).where(
        RecordChange.scope == f"zone:{above}",
        RecordChange.key.contains(f"{zone}.:", autoescape=True),
        ~superseded(RecordChange),
    )
    live = [value for value in session.scalars(keys) if value is not None]
    return min(
        (
            value["name"]
            for value in live
            if _lies_in(value["name"], zone)
            and not (value["type"] == DELEGATION and value["name"] == f"{zone}.")
        ),
        default=None,
    )  # fmt: skip


def _lies_in(name: str, zone: str) -> bool:
    return name == f"{zone}." or name.endswith(f".{zone}.")
