"""Domains: DNS zones that Muster is authoritative for. Racks have a name in each, because they are its name servers."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import versions
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.fabrics import NETWORK_LOCK
from app.services.names import check_domain, fqdn
from app.services.records import clear_scope, put_names
from app.store.locks import hold
from app.store.models import Device, Domain, IpAddress, Machine, Rack, Subnet
from app.store.queries.page import page

TTL_SECONDS = (1, 86_400)


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


def create(context: Context, name: str, ttl_seconds: int = 30) -> Domain:
    """A new domain; every rack serves it from its next offer on. Conflict when it exists."""
    context.require("admin", "add a domain")
    name = check_domain(name)
    _check_ttl(ttl_seconds)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        if session.scalar(select(Domain.id).where(Domain.name == name)) is not None:
            raise Conflict(f"domain {name}: it exists already", field="name", rule="domain names differ")
        domain = Domain(name=name, ttl_seconds=ttl_seconds)
        session.add(domain)
        session.flush()
        put_rack_names(session)
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "create", "domain", domain.id, name=name)
        return domain


def update(context: Context, domain_id: int, ttl_seconds: int) -> Domain:
    """Change the time that resolvers may keep the domain's answers. Existing records take it when they next change."""
    context.require("admin", "change a domain")
    _check_ttl(ttl_seconds)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        domain = domain_row(session, domain_id)
        versions.check(context, domain, f"domain {domain.name}")
        if domain.ttl_seconds != ttl_seconds:
            audit(session, context, "update", "domain", domain.id, ttl_seconds=[domain.ttl_seconds, ttl_seconds])
            domain.ttl_seconds = ttl_seconds
            touch_racks(session, session.scalars(select(Rack.id)))
        return domain


def delete(context: Context, domain_id: int) -> None:
    """Delete a domain and its records. Conflict while a machine or a subnet uses it."""
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
        clear_scope(session, f"zone:{domain.name}")
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "delete", "domain", domain.id, name=domain.name)
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


def put_rack_names(session: Session, rack_id: int | None = None) -> None:
    """Note the A and AAAA records of all racks, or of one, in every domain: they are the domains' name servers."""
    statement = (
        select(Rack.name, IpAddress.address)
        .join(IpAddress, IpAddress.rack_id == Rack.id)
        .where(IpAddress.kind == "rack")
        .order_by(IpAddress.id)
    )
    if rack_id is not None:
        statement = statement.where(Rack.id == rack_id)
    addresses: dict[str, list[str]] = {}
    for name, address in session.execute(statement):
        addresses.setdefault(name, []).append(address)
    for domain in session.scalars(select(Domain)):
        for name, own in addresses.items():
            put_names(session, domain.name, fqdn(name, domain.name), domain.ttl_seconds, own)


def _check_ttl(seconds: int) -> None:
    low, high = TTL_SECONDS
    if not low <= seconds <= high:
        raise Invalid(
            f"ttl {seconds} s: use {low} to {high} seconds", field="ttl_seconds", rule=f"{low} <= ttl <= {high}"
        )
