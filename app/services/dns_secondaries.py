"""Outside secondaries: servers that are not ours, and may copy our zones from any rack with a TSIG key that Muster makes.

The key is shown once, when it is made; racks fetch it by its name, which changes with every new key, so that digests,
plans and logs never hold it.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import versions
from app.services.addressing import parse_address
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.names import check_label
from app.store.dns_intent import secret_name
from app.store.locks import hold
from app.store.models import DnsSecondary, Rack
from app.store.queries.page import page

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
KEY_BYTES = {"hmac-sha256": 32, "hmac-sha384": 48, "hmac-sha512": 64}
CHANGEABLE = ("address", "port")
LOCK = "dns-secondaries"
_SECRET_NAME = re.compile(r"dns-secondary-([0-9]{1,9})-([0-9]{1,9})")


@dataclass(frozen=True)
class NewKey:
    """An outside secondary with its key, which is shown this once."""

    secondary: DnsSecondary
    secret: str


def find(
    context: Context, after: int | None = None, limit: int | None = None, *, name: str | None = None
) -> list[DnsSecondary]:
    """A page of outside secondaries by id; never with their keys."""
    statement = select(DnsSecondary)
    if name is not None:
        statement = statement.where(DnsSecondary.name == name)
    with context.store.read() as session:
        return list(session.scalars(page(statement, DnsSecondary.id, after, limit)))


def get(context: Context, secondary_id: int) -> DnsSecondary:
    """One outside secondary. NotFound when there is none."""
    with context.store.read() as session:
        return _row(session, secondary_id)


def create(context: Context, name: str, address: str, port: int = 53, algorithm: str = "hmac-sha256") -> NewKey:
    """Let a server copy our zones: it is told of every change (NOTIFY) and shows the key that is made here."""
    context.require("admin", "add a DNS secondary")
    name = check_label(name, "secondary")
    values = _checked({"address": address, "port": port})
    if algorithm not in ALGORITHMS:
        raise Invalid(f"algorithm {algorithm!r}: there are {', '.join(ALGORITHMS)}", field="algorithm")
    secret = _new_secret(algorithm)
    with changing(context) as session:
        hold(session, LOCK)
        if session.scalar(select(DnsSecondary.id).where(DnsSecondary.name == name)) is not None:
            raise Conflict(f"secondary {name}: it exists already", field="name", rule="names of secondaries differ")
        row = DnsSecondary(
            name=name, key_name=f"muster-{name}", algorithm=algorithm, secret=context.secrets.seal(secret), **values
        )
        session.add(row)
        session.flush()
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "create", "dns_secondary", row.id, name=name, **values)
        return NewKey(row, secret)


def update(context: Context, secondary_id: int, **changes: Any) -> DnsSecondary:
    """Change where the server is told of changes: address, port."""
    context.require("admin", "change a DNS secondary")
    for name in changes:
        if name not in CHANGEABLE:
            raise Invalid(f"{name} of a secondary cannot be changed; what can: {', '.join(CHANGEABLE)}", field=name)
    values = _checked(changes)
    with changing(context) as session:
        hold(session, LOCK)
        row = _row(session, secondary_id)
        versions.check(context, row, f"secondary {row.name}")
        changed = {name: [getattr(row, name), value] for name, value in values.items() if getattr(row, name) != value}
        for name in changed:
            setattr(row, name, values[name])
        if changed:
            touch_racks(session, session.scalars(select(Rack.id)))
            audit(session, context, "update", "dns_secondary", row.id, **changed)
        return row


def new_key(context: Context, secondary_id: int) -> NewKey:
    """Make another key; the old one is refused by each rack as soon as it has applied its next offer."""
    context.require("admin", "change a DNS secondary")
    with changing(context) as session:
        hold(session, LOCK)
        row = _row(session, secondary_id)
        secret = _new_secret(row.algorithm)
        row.secret, row.version = context.secrets.seal(secret), row.version + 1
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "new_key", "dns_secondary", row.id, version=row.version)
        return NewKey(row, secret)


def delete(context: Context, secondary_id: int) -> None:
    """Refuse the server's key from each rack's next offer on."""
    context.require("admin", "delete a DNS secondary")
    with changing(context) as session:
        hold(session, LOCK)
        row = _row(session, secondary_id)
        versions.check(context, row, f"secondary {row.name}")
        touch_racks(session, session.scalars(select(Rack.id)))
        audit(session, context, "delete", "dns_secondary", row.id, name=row.name)
        session.delete(row)


def secret_for_rack(context: Context, name: str) -> str:
    """The key that a bundle refers to by name, for an enrolled rack. NotFound for any other name, or a replaced key."""
    match = _SECRET_NAME.fullmatch(name)
    with context.store.read() as session:
        row = session.get(DnsSecondary, int(match.group(1))) if match else None
        if row is None or secret_name(row) != name:
            raise NotFound(
                f"there is no secret {name[:64]!r}; fetch the newest offer", rule="a secret that is referred to"
            )
        return context.secrets.open(row.secret)


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    values = dict(values)
    if "address" in values:
        values["address"] = str(parse_address(values["address"], "address"))
    if "port" in values and not 1 <= values["port"] <= 65535:
        raise Invalid(f"port {values['port']}: use 1 to 65535", field="port")
    return values


def _new_secret(algorithm: str) -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES[algorithm])).decode()


def _row(session: Session, secondary_id: int) -> DnsSecondary:
    row = session.get(DnsSecondary, secondary_id)
    if row is None:
        raise NotFound(f"there is no DNS secondary {secondary_id}; list them", field="secondary_id")
    return row
