"""Racks: enrolment with one-time codes, who a token belongs to, which addresses a rack has where.

Tokens are 256 random bits and kept as SHA-256 only.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import secrets
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from app.broker import queue_of
from app.services import broker_passwords, discovery, internal_names, offers, versions
from app.services.changes import audit, changing, event, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound, Unauthorized
from app.services.fabrics import NETWORK_LOCK
from app.services.name_servers import put_name_servers, take_rack_names
from app.services.names import check_label
from app.services.rack_interfaces import attach, checked_interfaces
from app.services.zone_reports import raise_serials
from app.store.locks import hold
from app.store.models import EnrolmentCode, IpAddress, Machine, Offer, Rack, Vlan
from app.store.prepared import Prepared
from app.store.queries.page import page
from renderers.intent import RackLayout, RackPorts

DHCP_SERVERS = ("kea", "dhcpd")
CODE_SECONDS = 3600


@dataclass(frozen=True)
class Enrolment:
    """What a rack host gets when it enrols; the tokens are shown this once."""

    rack: Rack
    token: str
    relay_token: str
    offer_public_key: str

    @property
    def queue(self) -> str:
        """Name of the rack's doorbell queue."""
        return queue_of(self.rack.name)


def find(
    context: Context,
    after: int | None = None,
    limit: int | None = None,
    *,
    name: str | None = None,
    text: str | None = None,
    seen_since: dt.datetime | None = None,
) -> list[Rack]:
    """A page of racks by id; only those that are as asked. text: part of the name."""
    statement = select(Rack)
    if name is not None:
        statement = statement.where(Rack.name == name)
    if text:
        statement = statement.where(Rack.name.contains(text.lower(), autoescape=True))
    if seen_since is not None:
        statement = statement.where(Rack.seen_at >= seen_since)
    with context.store.read() as session:
        return list(session.scalars(page(statement, Rack.id, after, limit)))


def get(context: Context, rack_id: int) -> Rack:
    """One rack. NotFound when there is none."""
    with context.store.read() as session:
        return rack_row(session, rack_id)


def change(context: Context, rack_id: int, *, dhcp_server: str | None = None, canary: bool | None = None) -> None:
    """Choose which server answers DHCPv4 on a rack; its leases are brought over. Conflict while it is one of a pair.

    canary: whether it is the first to take what many racks are to take.
    """
    context.require("admin", "change a rack")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        rack = rack_row(session, rack_id)
        versions.check(context, rack, f"rack {rack.name}")
        if canary is not None and canary != rack.canary:
            audit(session, context, "update", "rack", rack.id, canary=[rack.canary, canary])
            rack.canary = canary
        if dhcp_server is None or dhcp_server == rack.dhcp_server:
            return
        if dhcp_server not in DHCP_SERVERS:
            raise Invalid(f"dhcp_server: {dhcp_server!r}; use {' or '.join(DHCP_SERVERS)}", field="dhcp_server")
        either = or_(Vlan.rack_id == rack_id, Vlan.secondary_rack_id == rack_id)
        paired = session.scalar(
            select(Vlan).where(either, Vlan.secondary_rack_id.is_not(None)).order_by(Vlan.id).limit(1)
        )
        if dhcp_server != "kea" and paired is not None:
            raise Conflict(
                f"rack {rack.name} is one of the pair of VLAN {paired.name} (id {paired.id}), and only Kea racks can be"
                " partners; take the secondary rack off the VLAN first",
                rule="only Kea racks can be partners",
                field="dhcp_server",
            )
        audit(session, context, "update", "rack", rack.id, dhcp_server=[rack.dhcp_server, dhcp_server])
        rack.dhcp_server = dhcp_server
        touch_racks(session, [rack_id])


def delete(context: Context, rack_id: int) -> None:
    """Forget a rack: its token is dead at once, its VLANs have no rack, its names are gone."""
    context.require("admin", "delete a rack")
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        rack = rack_row(session, rack_id)
        versions.check(context, rack, f"rack {rack.name}")
        own = select(Vlan.id).where(Vlan.rack_id == rack_id)
        served = or_(Vlan.rack_id == rack_id, Vlan.relay_vlan_id.in_(own))
        dhcp = session.scalar(select(Vlan).where(served, Vlan.dhcp_on).order_by(Vlan.id).limit(1))
        if dhcp is not None:
            raise Conflict(
                f"rack {rack.name} serves DHCP on VLAN {dhcp.name} (id {dhcp.id}); switch DHCP off there or give the VLAN"
                " another rack first",
                rule="DHCP needs a rack",
            )
        session.execute(update(Vlan).where(Vlan.secondary_rack_id == rack_id).values(secondary_rack_id=None))
        session.execute(update(Vlan).where(Vlan.rack_id == rack_id).values(rack_id=None, secondary_rack_id=None))
        session.execute(update(Machine).where(Machine.rack_id == rack_id).values(rack_id=None))
        take_rack_names(session, rack)
        raise_serials(session)
        session.execute(delete_rows(IpAddress).where(IpAddress.rack_id == rack_id))
        audit(session, context, "delete", "rack", rack.id, name=rack.name)
        session.delete(rack)
        broker_passwords.changed(session, context)
        session.flush()
        put_name_servers(session)
        internal_names.put(session, context.clock())
        touch_racks(session, session.scalars(select(Rack.id)))


def new_code(context: Context, rack_name: str | None = None) -> str:
    """A one-time code, good for an hour; for a named rack it may also enrol that rack again."""
    context.require("admin", "enrol racks")
    name = check_label(rack_name, "rack") if rack_name else None
    code = secrets.token_urlsafe(18)
    now = context.clock()
    with changing(context) as session:
        row = EnrolmentCode(
            code_hash=sha256(code),
            rack_name=name,
            expires_at=now + dt.timedelta(seconds=CODE_SECONDS),
            created_by_id=context.actor.user_id,
            created_at=now,
        )
        session.add(row)
        session.flush()
        audit(session, context, "create", "enrolment_code", row.id, rack=name)
    return code


def checked_layout(values: dict[str, Any]) -> dict[str, Any]:
    """A rack's layout with all its fields. Invalid for what is no absolute path."""
    return _checked_fields(RackLayout, values, "layout")


def enrol(
    context: Context,
    code: str,
    name: str | None,
    layout: dict[str, Any],
    ports: dict[str, Any],
    interfaces: list[Any],
    version: str | None = None,
    control_plane: tuple[str, int] = ("127.0.0.1", 5240),
) -> Enrolment:
    """Give a rack host its identity for a one-time code. Unauthorized when the code is wrong, used or expired.

    control_plane is the host and port at which the rack reached us: its squid will relay machines there.
    """
    layout, ports = checked_layout(layout), _checked_fields(RackPorts, ports, "ports")
    interfaces = checked_interfaces(interfaces)
    now = context.clock()
    token, relay_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        statement = (
            update(EnrolmentCode)
            .where(
                EnrolmentCode.code_hash == sha256(code), EnrolmentCode.used_at.is_(None), EnrolmentCode.expires_at > now
            )
            .values(used_at=now)
            .returning(EnrolmentCode.id, EnrolmentCode.rack_name)
        )
        taken = session.execute(statement).first()
        if taken is None:
            raise Unauthorized(
                "this enrolment code is wrong, used or expired; ask an administrator for a new one",
                field="code",
                rule="a code is good once, for an hour",
            )
        rack = _rack_to_enrol(session, taken[1], name)
        rack.token_hash, rack.relay_token_hash = sha256(token), sha256(relay_token)
        rack.layout, rack.ports, rack.interfaces = layout, ports, interfaces
        rack.control_plane_host, rack.control_plane_port = control_plane
        rack.version, rack.seen_at, rack.enrolled_at = version, now, now
        rack.applied_offer = rack.applied_records = 0
        session.add(rack)
        session.flush()
        broker_passwords.renew(session, context, rack)
        discovery.of_rack(session, context, rack)
        attach(session, context, rack)
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "enrol", "rack", rack.id, name=rack.name)
        event(session, context, "rack.enrolled", f"Rack {rack.name} has enrolled.", rack_id=rack.id)
        key = offers.ensure_key(session, context)
    return Enrolment(rack, token, relay_token, key)


@dataclass(frozen=True)
class KnownRack:
    """A rack that has shown who it is."""

    id: int
    name: str


@dataclass(frozen=True)
class ServingRack(KnownRack):
    """A rack as the machines that it serves reach it: the columns of `app.store.models.Rack`."""

    interfaces: list[dict[str, Any]]
    ports: dict[str, Any]


_BY_TOKEN = Prepared(select(Rack.id, Rack.name).where(Rack.token_hash == bindparam("token_hash")))
_SERVING = Prepared(select(Rack.id, Rack.name, Rack.interfaces, Rack.ports).where(Rack.id == bindparam("rack_id")))
_BY_NAME = Prepared(select(Rack.id, Rack.name, Rack.relay_token_hash).where(Rack.name == bindparam("rack_name")))


def authenticate(context: Context, token: str) -> KnownRack:
    """The rack whose token this is. Unauthorized when it is nobody's."""
    row = context.store.row(_BY_TOKEN, token_hash=sha256(token)) if token else None
    if row is None:
        raise Unauthorized("this rack token is unknown; enrol the rack again", rule="a rack's own token")
    return KnownRack(row.id, row.name)


def authenticate_relay(context: Context, header: str) -> KnownRack:
    """The rack that relayed a machine's request, from `X-Muster-Rack: <name>:<relay token>`. Unauthorized otherwise."""
    name, _, token = header.strip().partition(":")
    if name and token:
        row = context.store.row(_BY_NAME, rack_name=name)
        known = row.relay_token_hash if row is not None else None
        if row is not None and known is not None and secrets.compare_digest(known, sha256(token)):
            return KnownRack(row.id, row.name)
    raise Unauthorized("the request does not come through an enrolled rack", rule="X-Muster-Rack: <name>:<relay token>")


def serving_rack(session: Session, rack_id: int) -> ServingRack:
    """The rack as its machines reach it. NotFound when there is none."""
    row = _SERVING.first(session, rack_id=rack_id)
    return ServingRack(*row) if row is not None else _missing(rack_id)


def address_towards(session: Session, rack: Rack | ServingRack, client_address: str) -> str:
    """The rack's address that a client is served from: the one in the client's own network, else the rack's first.

    Conflict when the rack has none at all.
    """
    client = ipaddress.ip_address(client_address)
    first = None
    for interface in rack.interfaces:
        for text in interface.get("addresses", ()):
            own = ipaddress.ip_interface(text)
            if own.version == client.version and client in own.network:
                return str(own.ip)
            if first is None and own.version == client.version and not own.ip.is_loopback and not own.ip.is_link_local:
                first = str(own.ip)
    if first is None:
        raise Conflict(f"rack {rack.name} reports no address that {client} could reach; check its interfaces")
    return first


def current_offer(context: Context, rack_id: int) -> Offer | None:
    """The newest offer of a rack; None while there is none."""
    with context.store.read() as session:
        return session.scalar(select(Offer).where(Offer.rack_id == rack_id).order_by(Offer.number.desc()).limit(1))


def rack_row(session: Session, rack_id: int) -> Rack:
    """The rack, inside an open transaction. NotFound when there is none."""
    return session.get(Rack, rack_id) or _missing(rack_id)


def _missing(rack_id: int) -> NoReturn:
    raise NotFound(f"there is no rack {rack_id}", field="rack_id")


def sha256(token: str) -> str:
    """How tokens and codes are kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def _rack_to_enrol(session: Session, coded: str | None, asked: str | None) -> Rack:
    """The row to enrol into: an existing one only when the code was made for that name."""
    if coded and asked and check_label(asked, "rack") != coded:
        raise Conflict(
            f"rack {asked}: this code is for rack {coded}; use that name or ask for another code", field="name"
        )
    names = {rack.name: rack for rack in session.scalars(select(Rack))}
    name = coded or (check_label(asked, "rack") if asked else _free_name(set(names)))
    if name in names:
        if coded != name:
            raise Conflict(
                f"rack {name} is enrolled already; to enrol it again ask for a code made for {name}",
                field="name",
                rule="rack names differ",
                remedy=f"make a code for {name}, or choose another name",
            )
        return names[name]
    for other in names:
        if other.startswith(name) or name.startswith(other):
            raise Conflict(
                f"rack {name}: its name and that of rack {other} begin alike, which brokers cannot keep apart; choose a"
                " name of the same length or another beginning",
                field="name",
                rule="no rack name is the beginning of another",
            )
    if session.scalar(select(Machine.id).where(Machine.hostname == name)) is not None:
        raise Conflict(f"rack {name}: a machine has this name; choose another", field="name", rule="host names differ")
    return Rack(name=name)


def _free_name(taken: set[str]) -> str:
    number = 1
    while f"rack-{number:03}" in taken:
        number += 1
    return f"rack-{number:03}"


def _checked_fields(kind: type, values: dict[str, Any], field: str) -> dict[str, Any]:
    """Known fields only, of the type that `kind` has for them."""
    if not isinstance(values, dict):
        raise Invalid(f"{field}: expected an object", field=field)
    defaults = kind()
    found: dict[str, Any] = {}
    for item in fields(kind):
        value = values.get(item.name, getattr(defaults, item.name))
        if type(value) is not type(getattr(defaults, item.name)):
            raise Invalid(f"{field}.{item.name}: {value!r} is not like {getattr(defaults, item.name)!r}", field=field)
        if isinstance(value, int) and not 0 < value < 65536:
            raise Invalid(f"{field}.{item.name}: {value} is no port; use 1 to 65535", field=field)
        if value == getattr(defaults, item.name) == "":
            found[item.name] = value
            continue
        if isinstance(value, str) and (not value.startswith("/") or "\n" in value or '"' in value):
            raise Invalid(f"{field}.{item.name}: {value!r} must be an absolute path", field=field)
        found[item.name] = value
    return found
