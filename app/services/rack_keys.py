"""Keys whose both ends are on a rack: made there, changed there on demand or by age, never seen here."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import func, or_, select, update

from app.services import rack_questions, racks, settings
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.services.errors import Conflict, ServiceError
from app.store.models import Rack

SECONDS = 60.0
AGAIN = dt.timedelta(days=1)
"""A rack that could not change its key is asked again after this time."""
AT_ONCE = 20
"""Racks in one round: each may take `SECONDS`, during which the worker has a thread less for other work."""


@dataclass(frozen=True)
class KeyChange:
    """What a change of a key cost. gap: seconds in which the rack's DHCP server did not answer."""

    gap: float


def new_omapi_key(context: Context, rack_id: int) -> KeyChange:
    """Have a rack make a new key for the control of its ISC dhcpd; the old one is worth nothing afterwards.

    dhcpd starts again for it, with its leases.  Conflict on a rack that runs Kea, Unanswered when the rack did not do it.
    """
    context.require("admin", "change a rack's key")
    rack = racks.get(context, rack_id)
    if rack.dhcp_server != "dhcpd":
        raise Conflict(
            f"rack {rack.name} serves DHCP by Kea, which is controlled through a socket and has no key",
            rule="only ISC dhcpd has an OMAPI key",
        )
    said = rack_questions.one(context, rack_questions.NEW_KEY, rack_id, {}, SECONDS)
    gap = said.get("gap")
    change = KeyChange(float(gap) if isinstance(gap, (int, float)) else 0.0)
    with changing(context) as session:
        session.execute(update(Rack).where(Rack.id == rack_id).values(omapi_key_at=context.clock()))
        audit(session, context, "new key", "rack", rack_id, key="omapi")
        event(session, context, "rack.key", f"Rack {rack.name} has a new OMAPI key.", rack_id=rack_id)
    return change


def renew_old(context: Context) -> int:
    """Have the first `AT_ONCE` racks whose OMAPI key is older than the setting `rack_keys` allows make new ones; how many did.

    One rack after the other, because dhcpd is deaf while it starts.  A key's age counts from its last change, or from the
    rack's enrolment.  What goes wrong is told on the rack's timeline and tried again after a day; a rack that is away is
    asked when it is back.
    """
    now, done = context.clock(), 0
    with context.store.read() as session:
        days = int(settings.get(session, settings.RACK_KEYS, {}).get("omapi_days", 0))
        if days == 0:
            return 0
        due = (
            Rack.dhcp_server == "dhcpd",
            Rack.token_hash.is_not(None),
            Rack.seen_at > now - dt.timedelta(seconds=rack_questions.SILENT_SECONDS),
            func.coalesce(Rack.omapi_key_at, Rack.enrolled_at) <= now - dt.timedelta(days=days),
            or_(Rack.omapi_key_tried_at.is_(None), Rack.omapi_key_tried_at <= now - AGAIN),
        )
        found = session.execute(select(Rack.id, Rack.name).where(*due).order_by(Rack.id).limit(AT_ONCE)).all()
    for rack_id, name in found:
        claim = update(Rack).where(Rack.id == rack_id, *due).values(omapi_key_tried_at=now).returning(Rack.id)
        with context.store.write() as session:  # Another worker may be at it.
            if session.scalar(claim) is None:
                continue
        try:
            new_omapi_key(context, rack_id)
            done += 1
        except ServiceError as error:
            message = f"Rack {name} has no new OMAPI key, though its own is older than {days} days: {error.detail}"
            with changing(context) as session:
                event(session, context, "rack.key", message, rack_id=rack_id, level="error")
    return done
