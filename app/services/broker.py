"""Racks' users in a Redis broker: who there should be, with which password.

A password is 256 random bits, sealed in the rack's row, shown to nobody but the rack itself, and a hash to Redis.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from app import broker
from app.services import racks, settings
from app.services.broker_passwords import MARK, ensured, renew
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.store.models import Rack

STATE = "broker_users_state"


@dataclass(frozen=True)
class Users:
    """Racks' users as Redis should have them: lines of its aclfile by user, and the mark that they go by."""

    mark: str
    lines: dict[str, str]


def mark(context: Context) -> str:
    """What tells of a change of any user: one row."""
    with context.store.read() as session:
        return str(settings.stored(session, MARK, {"mark": "none"})["mark"])


def users(context: Context) -> Users:
    """Everybody who should be in Redis; racks that enrolled before there were passwords get theirs now."""
    enrolled = select(Rack).where(Rack.token_hash.is_not(None)).order_by(Rack.id)
    with context.store.read() as session:
        complete = session.scalar(enrolled.where(Rack.broker_password.is_(None)).limit(1)) is None
    if not complete:
        with changing(context) as session:
            for rack in session.scalars(enrolled.where(Rack.broker_password.is_(None)).with_for_update()):
                ensured(session, context, rack)
    with context.store.read() as session:
        # The mark first: what changes meanwhile has another one, and is seen to next time.
        present = str(settings.stored(session, MARK, {"mark": "none"})["mark"])
        lines = {
            broker.queue_of(rack.name): broker.acl_line(rack.name, context.secrets.open(rack.broker_password))
            for rack in session.scalars(enrolled)
            if rack.broker_password is not None
        }
    return Users(present, lines)


def note_kept(context: Context, kept: bool) -> None:
    """Note whether the region worker can keep the users, for whoever watches; written only when that is news."""
    with context.store.read() as session:
        if settings.get(session, STATE, {"kept": True})["kept"] == kept:
            return
    with context.store.write() as session:
        settings.put(session, STATE, {"kept": kept})


def are_kept(context: Context) -> bool:
    """Whether the region worker could keep the users when it last tried, or nobody asks it to."""
    with context.store.read() as session:
        return bool(settings.get(session, STATE, {"kept": True})["kept"])


def acl(context: Context) -> list[str]:
    """Racks' users as lines for Redis' aclfile, for sites that keep it themselves; passwords as hashes only."""
    context.require("admin", "see the broker's users")
    return list(users(context).lines.values())


def password_for_rack(context: Context, rack_id: int) -> str:
    """The password of the calling rack's own user."""
    with context.store.read() as session:
        sealed = racks.rack_row(session, rack_id).broker_password
    if sealed is not None:
        return context.secrets.open(sealed)
    with changing(context) as session:
        return ensured(session, context, racks.rack_row(session, rack_id))


def new_password(context: Context, rack_id: int) -> Rack:
    """Give a rack another password at the broker: its worker is cut off, fetches the new one and is back in seconds.

    What rings meanwhile costs only time, as racks look by themselves.
    """
    context.require("admin", "change a rack's password at the broker")
    with changing(context) as session:
        rack = racks.rack_row(session, rack_id)
        renew(session, context, rack)
        audit(session, context, "new password", "rack", rack.id, of="broker")
        event(session, context, "rack.key", f"Rack {rack.name} has a new password at the broker.", rack_id=rack.id)
        return rack
