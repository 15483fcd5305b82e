"""A domain gets another name: everything that is named in it follows, in the transaction that renames it.

What follows: its own records (machines, devices, racks, reservations, leases, people's), pointers back and name servers in
reverse zones, what people's CNAME, MX, NS and SRV records anywhere point to in it, and, because racks are told, search
domains in DHCP.  What cannot: TXT data, and what is written on disks of installed machines (`app.services.installed_names`
lists those).  A name in a domain of its own below this one is none of this one's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import String, cast, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services import nearest_domain, zone_reports
from app.services.changes import put_record
from app.services.dns_data import LONGEST_NAME, TARGETED, target_of
from app.services.errors import Conflict
from app.services.name_servers import put_name_servers
from app.services.records import forget_scope, superseded
from app.store.models import DnsRecord, Domain, Machine, RecordChange

TRANSIENT = tuple(state.value for state in State if state.is_transient)
POINTING = ("PTR", *TARGETED)
Follow = Callable[[str], str]


def rename(session: Session, domain: Domain, new: str) -> int:
    """Give a domain its new name, which must be free, and have everything follow; how many RRsets were rewritten.

    Conflict while a machine of the domain is being worked on, which has been told its name already, and when a name
    would be too long or would lie in another domain, where nobody finds it.  The caller holds the locks of the network and of names.
    """
    old = domain.name
    _refuse_under_way(session, domain, new)
    below = session.scalars(select(Domain.name).where(Domain.name.endswith(f".{old}", autoescape=True)))
    follow, owner = follower(old, new, frozenset(below)), follower(old, new)
    moved = _records(session, f"zone:{old}")
    for row in moved:
        _refuse_too_long(domain, new, owner(row.value["name"]))
    nearest_domain.refuse_hiding(session, new, [owner(row.value["name"]) for row in moved], domain)
    elsewhere = _records(session, None, f"{old}.", f"zone:{old}")
    domain.name = new
    session.flush()
    for row in moved:
        value = rewritten(row.value, owner, follow)
        put_record(session, f"zone:{new}", f"rrset:{value['name']}:{value['type']}", value, author=row.actor)
    changed = 0
    for row in elsewhere:
        value = rewritten(row.value, lambda name: name, follow)
        if value != row.value:
            put_record(session, row.scope, row.key, value, author=row.actor)
            changed += 1
    # Racks drop a scope that their offer does not name; until then they serve what it holds.
    forget_scope(session, f"zone:{old}")
    zone_reports.forget(session, old)
    _people(session, old, follow)
    put_name_servers(session)
    return len(moved) + changed


def follower(old: str, new: str, below: frozenset[str] = frozenset()) -> Follow:
    """What an absolute name is called once `old` is called `new`. below: domains of their own, whose names stay."""

    def follow(name: str) -> str:
        if name != f"{old}." and not name.endswith(f".{old}."):
            return name
        if any(name == f"{one}." or name.endswith(f".{one}.") for one in below):
            return name
        return f"{name.removesuffix(f'{old}.')}{new}."

    return follow


def rewritten(value: dict[str, Any], owner: Follow, target: Follow) -> dict[str, Any]:
    """An RRset with its owner and what it points to renamed."""
    rdatas = value["rdatas"]
    if value["type"] in POINTING:
        rdatas = [_pointed(rdata, target) for rdata in rdatas]
    return {**value, "name": owner(value["name"]), "rdatas": rdatas}


def _pointed(rdata: str, follow: Follow) -> str:
    *words, target = rdata.split(" ")
    return " ".join([*words, follow(target)])


def _records(session: Session, scope: str | None, text: str = "", but: str = "") -> list[Any]:
    """The live RRsets of a zone; without one those of all zones but one whose words hold a text."""
    columns = (RecordChange.scope, RecordChange.key, RecordChange.value, RecordChange.actor)
    statement = select(*columns).where(~superseded(RecordChange)).order_by(RecordChange.sequence)
    if scope is not None:
        statement = statement.where(RecordChange.scope == scope)
    else:
        words = cast(RecordChange.value, String)
        statement = statement.where(
            RecordChange.scope.startswith("zone:"), RecordChange.scope != but, words.contains(text, autoescape=True)
        )
    return [row for row in session.execute(statement) if row.value is not None]


def _people(session: Session, old: str, follow: Follow) -> None:
    """Records that people have added, in any domain: what they point to follows."""
    statement = select(DnsRecord).where(
        DnsRecord.type.in_(TARGETED), DnsRecord.data.endswith(f"{old}.", autoescape=True)
    )
    for row in session.scalars(statement):
        if (target := target_of(row.type, row.data)) is not None and follow(target) != target:
            row.data = _pointed(row.data, follow)
    session.flush()


def _refuse_under_way(session: Session, domain: Domain, new: str) -> None:
    busy = select(Machine.hostname, Machine.state).where(Machine.domain_id == domain.id, Machine.state.in_(TRANSIENT))
    row = session.execute(busy.order_by(Machine.hostname).limit(1)).first()
    if row is not None:
        raise Conflict(
            f"domain {domain.name}: {row.hostname} is {State(row.state).label} and has been told its name already; wait or"
            f" abort that, then call the domain {new}",
            field="name",
            rule="a domain is renamed while its machines are at rest",
        )


def _refuse_too_long(domain: Domain, new: str, name: str) -> None:
    if len(name.removesuffix(".")) > LONGEST_NAME:
        raise Conflict(
            f"domain {domain.name}: as {new} it would hold {name[:60]}..., which has {len(name) - 1} characters; choose a"
            f" shorter name, or delete that record",
            field="name",
            rule=f"a DNS name has at most {LONGEST_NAME} characters",
        )
