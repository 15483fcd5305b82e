"""Racks' passwords at a Redis broker, inside open transactions: made, sealed, and marked as changed.

The mark is a random text that changes with every password and every rack that goes: the region worker leaves it in Redis
beside the users, so that one look tells whether they are still as they should be.
"""

from __future__ import annotations

import secrets

from sqlalchemy.orm import Session

from app.services import settings
from app.services.context import Context
from app.store.models import Rack
from app.store.unit_of_work import after_commit

MARK = "broker_users"
PASSWORD_BYTES = 32


def renew(session: Session, context: Context, rack: Rack) -> None:
    """Give the rack another password; the old one is worth nothing as soon as the region worker has told Redis."""
    rack.broker_password = context.secrets.seal(secrets.token_urlsafe(PASSWORD_BYTES))
    rack.broker_password_at = context.clock()
    changed(session, context)


def changed(session: Session, context: Context) -> None:
    """Racks' users are other ones from now on."""
    settings.put(session, MARK, {"mark": secrets.token_hex(16)})
    after_commit(session, context.ring.broker_users)


def ensured(session: Session, context: Context, rack: Rack) -> str:
    """The rack's password, made now if it has none. ValueError when no key opens it."""
    if rack.broker_password is None:
        renew(session, context, rack)
    return context.secrets.open(str(rack.broker_password))
