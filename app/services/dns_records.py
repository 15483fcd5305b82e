"""DNS records that people add: one row each; rows of one name and type make an RRset, whose TTL they share.

What follows is one record change for each RRset touched, so that a name is at every rack within milliseconds, and
however many are changed together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import select, tuple_
from sqlalchemy import update as update_rows
from sqlalchemy.orm import Session

from app.services import versions
from app.services.changes import audit, changing
from app.services.context import Context
from app.services.dns_data import TYPES, canonical_data, owner_of, relative_name
from app.services.dns_rules import TOGETHER, check_set
from app.services.domains import TTL_SECONDS, check_ttl, domain_row, refuse_internal
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.records import put_rrset
from app.store.locks import hold
from app.store.models import DnsRecord, Domain
from app.store.queries.page import page

__all__ = ["TTL_SECONDS", "TYPES", "Bulk", "bulk", "create", "delete", "find", "get", "put_all", "update"]
MOST_TOGETHER = 5000
CHANGEABLE = ("data", "ttl_seconds")


@dataclass(frozen=True)
class Bulk:
    """What came of many changes at once."""

    added: int
    deleted: int


def find(
    context: Context,
    domain_id: int,
    after: int | None = None,
    limit: int | None = None,
    *,
    name: str | None = None,
    kind: str | None = None,
    text: str | None = None,
) -> list[DnsRecord]:
    """A page of a domain's records by id. text: part of the name or of the data."""
    with context.store.read() as session:
        domain = domain_row(session, domain_id)
        statement = select(DnsRecord).where(DnsRecord.domain_id == domain.id)
        if name is not None:
            statement = statement.where(DnsRecord.name == relative_name(name, domain.name))
        if kind is not None:
            statement = statement.where(DnsRecord.type == kind)
        if text:
            in_name, in_data = (one.icontains(text, autoescape=True) for one in (DnsRecord.name, DnsRecord.data))
            statement = statement.where(in_name | in_data)
        return list(session.scalars(page(statement, DnsRecord.id, after, limit)))


def get(context: Context, domain_id: int, record_id: int) -> DnsRecord:
    """One record of a domain. NotFound when there is none."""
    with context.store.read() as session:
        return _row(session, domain_row(session, domain_id), record_id)


def create(context: Context, domain_id: int, **values: Any) -> DnsRecord:
    """Add a record: name, type, data, ttl_seconds (the RRset's). Conflict when a rule of DNS stands against it."""
    context.require("operator", "add DNS records")
    with changing(context) as session:
        domain = _editable(session, domain_id)
        (record,) = _add(session, domain, [values])
        _put(session, domain, {(record.name, record.type)})
        shown = f"{record.name} {record.type} {record.data}"
        audit(session, context, "create", "dns_record", record.id, domain=domain.name, record=shown)
        return record


def update(context: Context, domain_id: int, record_id: int, **changes: Any) -> DnsRecord:
    """Change a record's data, or the TTL of its RRset. Another name or type is another record."""
    context.require("operator", "change DNS records")
    with changing(context) as session:
        domain = _editable(session, domain_id)
        record = _row(session, domain, record_id)
        versions.check(context, record, f"record {record.name} {record.type}")
        changed: dict[str, list[Any]] = {}
        if "data" in changes:
            data = canonical_data(record.type, changes["data"], domain.name)
            if data != record.data:
                _refuse_twice(session, domain, [(record.name, record.type, data)])
                changed["data"] = [record.data, data]
                record.data = data
        if "ttl_seconds" in changes and changes["ttl_seconds"] != record.ttl_seconds:
            if changes["ttl_seconds"] is not None:
                check_ttl(changes["ttl_seconds"])
            changed["ttl_seconds"] = [record.ttl_seconds, changes["ttl_seconds"]]
            _share_ttl(session, domain, record.name, record.type, changes["ttl_seconds"])
        session.flush()
        session.refresh(record)
        if changed:
            check_set(session, domain, [record])
            _put(session, domain, {(record.name, record.type)})
            audit(session, context, "update", "dns_record", record.id, domain=domain.name, name=record.name, **changed)
        return record


def delete(context: Context, domain_id: int, record_id: int) -> None:
    """Take a record away."""
    context.require("operator", "delete DNS records")
    with changing(context) as session:
        domain = _editable(session, domain_id)
        record = _row(session, domain, record_id)
        versions.check(context, record, f"record {record.name} {record.type}")
        shown = f"{record.name} {record.type} {record.data}"
        audit(session, context, "delete", "dns_record", record.id, domain=domain.name, record=shown)
        session.delete(record)
        session.flush()
        _put(session, domain, {(record.name, record.type)})


def bulk(context: Context, domain_id: int, add: Sequence[dict[str, Any]], remove: Sequence[int]) -> Bulk:
    """Delete records by id and add others, all or none, at most 5,000 in all; what goes makes room for what comes."""
    context.require("operator", "change DNS records")
    if len(add) + len(remove) > MOST_TOGETHER:
        raise Invalid(
            f"{len(add) + len(remove)} records at once: use at most {MOST_TOGETHER} and send the rest after them",
            field="add",
            rule=f"at most {MOST_TOGETHER} together",
        )
    with changing(context) as session:
        domain = _editable(session, domain_id)
        touched: set[tuple[str, str]] = set()
        wanted = sorted(set(remove))
        for begin in range(0, len(wanted), TOGETHER):
            some = wanted[begin : begin + TOGETHER]
            here = (DnsRecord.domain_id == domain.id, DnsRecord.id.in_(some))
            found = {row.id: (row.name, row.type) for row in session.scalars(select(DnsRecord).where(*here))}
            if missing := set(some) - found.keys():
                raise NotFound(f"domain {domain.name} has no record {min(missing)}; nothing was done", field="delete")
            touched |= set(found.values())
            session.execute(delete_rows(DnsRecord).where(*here))
        session.expire_all()
        added = _add(session, domain, add)
        touched |= {(record.name, record.type) for record in added}
        _put(session, domain, touched)
        audit(session, context, "bulk", "dns_record", None, domain=domain.name, added=len(add), deleted=len(wanted))
        return Bulk(len(add), len(wanted))


def put_all(session: Session, domain: Domain) -> None:
    """Note every RRset that people have added to a domain: its TTL has changed."""
    _put(session, domain, {(name, kind) for name, kind in session.execute(
        select(DnsRecord.name, DnsRecord.type).where(DnsRecord.domain_id == domain.id).distinct()
    )})  # fmt: skip


def _add(session: Session, domain: Domain, wanted: Sequence[dict[str, Any]]) -> list[DnsRecord]:
    """Rows for what is wanted, checked together, with ids."""
    rows: list[DnsRecord] = []
    ttls: dict[tuple[str, str], int] = {}
    for place, values in enumerate(wanted):
        try:
            name = relative_name(values["name"], domain.name)
            data = canonical_data(values["type"], values["data"], domain.name)
            ttl = values.get("ttl_seconds")
            if ttl is not None:
                check_ttl(ttl)
                if ttls.setdefault((name, values["type"]), ttl) != ttl:
                    raise Invalid(
                        f"{values['type']} record {name}: its RRset cannot have a TTL of {ttl} s and of"
                        f" {ttls[name, values['type']]} s; give one",
                        field="ttl_seconds",
                        rule="records of one name and type share a TTL (RFC 2181, section 5.2)",
                    )
        except Invalid as error:
            if len(wanted) > 1:
                raise Invalid(f"add.{place}: {error.detail}", field=f"add.{place}", rule=error.rule) from error
            raise
        rows.append(DnsRecord(domain_id=domain.id, name=name, type=values["type"], data=data, ttl_seconds=ttl))
    _refuse_twice(session, domain, [(row.name, row.type, row.data) for row in rows])
    session.add_all(rows)
    session.flush()
    for (name, kind), ttl in ttls.items():
        _share_ttl(session, domain, name, kind, ttl)
    _inherit_ttls(session, domain, [row for row in rows if (row.name, row.type) not in ttls])
    check_set(session, domain, rows)
    return rows


def _refuse_twice(session: Session, domain: Domain, wanted: list[tuple[str, str, str]]) -> None:
    """Conflict when a record is there already, or wanted twice."""
    seen: set[tuple[str, str, str]] = set()
    for one in wanted:
        if one in seen:
            raise _twice(domain, one)
        seen.add(one)
    triple = tuple_(DnsRecord.name, DnsRecord.type, DnsRecord.data)
    for begin in range(0, len(wanted), TOGETHER // 2):
        some = wanted[begin : begin + TOGETHER // 2]
        statement = select(DnsRecord.name, DnsRecord.type, DnsRecord.data)
        found = session.execute(statement.where(DnsRecord.domain_id == domain.id, triple.in_(some)).limit(1)).first()
        if found is not None:
            raise _twice(domain, (found[0], found[1], found[2]))


def _twice(domain: Domain, record: tuple[str, str, str]) -> Conflict:
    name, kind, data = record
    return Conflict(
        f"{kind} record {name} in {domain.name}: it is {data} already; nothing needs to be added",
        field="data",
        rule="a record is there once",
    )


def _share_ttl(session: Session, domain: Domain, name: str, kind: str, ttl: int | None) -> None:
    here = (DnsRecord.domain_id == domain.id, DnsRecord.name == name, DnsRecord.type == kind)
    session.execute(update_rows(DnsRecord).where(*here).values(ttl_seconds=ttl))


def _inherit_ttls(session: Session, domain: Domain, rows: Iterable[DnsRecord]) -> None:
    """What joins an RRset takes the RRset's TTL."""
    fresh = list(rows)
    names = sorted({row.name for row in fresh})
    ids = {row.id for row in fresh}
    for begin in range(0, len(names), TOGETHER):
        statement = select(DnsRecord.id, DnsRecord.name, DnsRecord.type, DnsRecord.ttl_seconds).where(
            DnsRecord.domain_id == domain.id,
            DnsRecord.name.in_(names[begin : begin + TOGETHER]),
            DnsRecord.ttl_seconds.is_not(None),
        )
        known = {(name, kind): ttl for row_id, name, kind, ttl in session.execute(statement) if row_id not in ids}
        for row in fresh:
            if (row.name, row.type) in known:
                row.ttl_seconds = known[row.name, row.type]


def _put(session: Session, domain: Domain, rrsets: set[tuple[str, str]]) -> None:
    """Note the RRsets as their rows are now."""
    session.flush()
    names = sorted({name for name, _ in rrsets})
    found: dict[tuple[str, str], tuple[list[str], int | None]] = {}
    for begin in range(0, len(names), TOGETHER):
        some = names[begin : begin + TOGETHER]
        statement = select(DnsRecord.name, DnsRecord.type, DnsRecord.data, DnsRecord.ttl_seconds)
        here = (DnsRecord.domain_id == domain.id, DnsRecord.name.in_(some))
        for name, kind, data, ttl in session.execute(statement.where(*here).order_by(DnsRecord.data)):
            datas, _ = found.setdefault((name, kind), ([], ttl))
            datas.append(data)
    for name, kind in sorted(rrsets):
        datas, ttl = found.get((name, kind), ([], None))
        own = ttl if ttl is not None else domain.ttl_seconds
        put_rrset(session, domain.name, owner_of(name, domain.name), kind, own, datas)


def _editable(session: Session, domain_id: int) -> Domain:
    hold(session, NETWORK_LOCK)
    domain = domain_row(session, domain_id)
    refuse_internal(domain.name)
    return domain


def _row(session: Session, domain: Domain, record_id: int) -> DnsRecord:
    record = session.get(DnsRecord, record_id)
    if record is None or record.domain_id != domain.id:
        raise NotFound(f"domain {domain.name} has no record {record_id}; list its records", field="record_id")
    return record
