"""Domains: DNS zones that Muster is authoritative for. Racks have a name in each, because they are its name servers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services import domain_rename, nearest_domain, versions, zone_reports
from app.services.changes import audit, changing, put_record, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.hostnames import NAMING
from app.services.name_servers import put_name_servers
from app.services.names import check_domain
from app.services.records import clear_scope, live
from app.store.locks import hold
from app.store.models import Device, DnsRecord, Domain, Machine, Rack, Subnet
from app.store.queries.page import page
from app.store.queries.zones import INTERNAL_ZONE, zones

TTL_SECONDS = (1, 86_400)
CHANGEABLE = ("name", "ttl_seconds", "description", "primary_rack_id")


def find(
    context: Context, after: int | None = None, limit: int | None = None, *, name: str | None = None
) -> list[Domain]:
    """A page of domains by id; the one of a name when it is given."""
    statement = select(Domain)
    if name is not None:
        statement = statement.where(Domain.name == check_domain(name))
    with context.store.read() as session:
        return list(session.scalars(page(statement, Domain.id, after, limit)))


def get(context: Context, domain_id: int) -> Domain:
    """One domain. NotFound when there is none."""
    with context.store.read() as session:
        return domain_row(session, domain_id)


def create(
    context: Context, name: str, ttl_seconds: int = 30, description: str = "", primary_rack_id: int | None = None
) -> Domain:
    """A new domain; every rack serves it from its next offer on. Conflict when it exists.

    primary_rack_id: the rack that holds the primary of its zone; the one enrolled first when it is not given.
    """
    context.require("admin", "add a domain")
    name = check_domain(name)
    refuse_internal(name)
    check_ttl(ttl_seconds)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        hold(session, NAMING)
        _refuse_taken(session, name)
        nearest_domain.refuse_hiding(session, name)
        _check_primary(session, primary_rack_id)
        domain = Domain(name=name, ttl_seconds=ttl_seconds, description=description, primary_rack_id=primary_rack_id)
        session.add(domain)
        put_name_servers(session)
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "create", "domain", domain.id, name=name)
        return domain


def update(context: Context, domain_id: int, **changes: Any) -> Domain:
    """Change a domain: ttl_seconds (existing records take it too), description, primary_rack_id (promotes that rack), name.

    All that is named in it follows a new name (`app.services.domain_rename`), except on the disks of installed machines,
    which `app.services.installed_names` lists.
    """
    context.require("admin", "change a domain")
    for name in changes:
        if name not in CHANGEABLE:
            raise Invalid(f"{name} of a domain cannot be changed; what can: {', '.join(CHANGEABLE)}", field=name)
    if "ttl_seconds" in changes:
        check_ttl(changes["ttl_seconds"])
    if "name" in changes:
        changes["name"] = check_domain(changes["name"])
        refuse_internal(changes["name"])
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        if "name" in changes:
            hold(session, NAMING)
        domain = domain_row(session, domain_id)
        versions.check(context, domain, f"domain {domain.name}")
        changed = {
            name: [getattr(domain, name), value] for name, value in changes.items() if getattr(domain, name) != value
        }
        if not changed:
            return domain
        if "primary_rack_id" in changed:
            _check_primary(session, changes["primary_rack_id"])
            zone_reports.raise_serials(session)
        if "name" in changed:
            _refuse_taken(session, changes["name"])
            if "ttl_seconds" in changed:
                raise Invalid(
                    f"domain {domain.name}: change its name and its ttl one after the other",
                    field="ttl_seconds",
                    rule="a renamed domain's records keep their ttl",
                )
            domain_rename.rename(session, domain, changes["name"])
        for name in changed:
            setattr(domain, name, changes[name])
        session.flush()
        if "ttl_seconds" in changed:
            _put_ttl(session, domain, changed["ttl_seconds"][0])
        if changed.keys() != {"description"}:
            touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "update", "domain", domain.id, **changed)
        return domain


def delete(context: Context, domain_id: int) -> None:
    """Delete a domain and its records. Conflict while a machine, a device or a subnet uses it, and for the last one."""
    context.require("admin", "delete a domain")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        domain = domain_row(session, domain_id)
        versions.check(context, domain, f"domain {domain.name}")
        cidr = session.scalar(select(Subnet.cidr).where(Subnet.domain_id == domain_id).order_by(Subnet.id).limit(1))
        if cidr is not None:
            raise Conflict(
                f"domain {domain.name}: subnet {cidr} names its clients in it; give the subnet another domain first",
                rule="a domain in use stays",
            )
        hostname = session.scalar(select(Machine.hostname).where(Machine.domain_id == domain_id).limit(1))
        if hostname is not None:
            raise Conflict(
                f"domain {domain.name}: machine {hostname} is in it; move the machine to another domain first",
                rule="a domain in use stays",
            )
        device = session.scalar(select(Device.hostname).where(Device.domain_id == domain_id).limit(1))
        if device is not None:
            raise Conflict(
                f"domain {domain.name}: device {device} is in it; move the device to another domain first",
                rule="a domain in use stays",
            )
        if session.scalar(select(func.count()).select_from(Domain)) == 1:
            raise Conflict(
                f"domain {domain.name}: it is the only one, and machines are named in one; add another domain first",
                rule="there is always a domain",
            )
        clear_scope(session, f"zone:{domain.name}")
        zone_reports.forget(session, domain.name)
        touch_racks(session, session.scalars(select(Rack.id)))
        here = select(func.count()).select_from(DnsRecord).where(DnsRecord.domain_id == domain_id)
        audit(session, context, "delete", "domain", domain.id, name=domain.name, records=session.scalar(here))
        session.delete(domain)


def domain_row(session: Session, domain_id: int | None) -> Domain:
    """The domain, inside an open transaction; the first one for None. NotFound when there is none."""
    if domain_id is None:
        domain = session.scalar(select(Domain).order_by(Domain.id).limit(1))
        if domain is None:
            raise NotFound("there is no domain yet; add one", field="domain_id")
        return domain
    domain = session.get(Domain, domain_id)
    if domain is None:
        raise NotFound(f"there is no domain {domain_id}", field="domain_id")
    return domain


def refuse_internal(name: str) -> None:
    """Conflict for the domain that only Muster edits."""
    if name == INTERNAL_ZONE or name.endswith(f".{INTERNAL_ZONE}"):
        raise Conflict(
            f"domain {name}: Muster keeps the names of racks in {INTERNAL_ZONE} by itself; choose another domain",
            field="name",
            rule="the internal domain is not edited",
        )


def _refuse_taken(session: Session, name: str) -> None:
    """Conflict when there is a zone of this name."""
    if session.scalar(select(Domain.id).where(Domain.name == name)) is not None:
        raise Conflict(f"domain {name}: it exists already", field="name", rule="domain names differ")
    if name in {zone.name for zone in zones(session)}:
        raise Conflict(
            f"domain {name}: it is the reverse zone of a subnet, which Muster keeps itself; switch reverse_dns of that"
            " subnet off first",
            field="name",
            rule="zone names differ",
        )


def check_ttl(seconds: int) -> None:
    """Invalid when resolvers could not keep an answer for so long, or not at all."""
    low, high = TTL_SECONDS
    if not low <= seconds <= high:
        raise Invalid(
            f"ttl {seconds} s: use {low} to {high} seconds", field="ttl_seconds", rule=f"{low} <= ttl <= {high}"
        )


def _check_primary(session: Session, rack_id: int | None) -> None:
    """A primary is an enrolled rack that the others reach."""
    if rack_id is None:
        return
    rack = session.get(Rack, rack_id)
    if rack is None:
        raise NotFound(f"there is no rack {rack_id}", field="primary_rack_id")
    if rack.token_hash is None:
        raise Conflict(
            f"rack {rack.name} has not enrolled, so it cannot hold a zone; enrol it first",
            field="primary_rack_id",
            rule="a primary is an enrolled rack",
        )


def _put_ttl(session: Session, domain: Domain, before: int) -> None:
    """Give the domain's TTL to everything in its zones that had the old one; RRsets with a TTL of their own keep it."""
    own = {
        (name, kind)
        for name, kind in session.execute(
            select(DnsRecord.name, DnsRecord.type)
            .where(DnsRecord.domain_id == domain.id, DnsRecord.ttl_seconds.is_not(None))
            .distinct()
        )
    }
    kept = {f"rrset:{domain.name if name == '@' else f'{name}.{domain.name}'}.:{kind}" for name, kind in own}
    for zone in zones(session):
        if zone.domain != domain.name:
            continue
        for key, value in live(session, zone.scope):
            if value.get("ttl") == before and not (zone.name == domain.name and key in kept):
                put_record(session, zone.scope, key, {**value, "ttl": domain.ttl_seconds})
