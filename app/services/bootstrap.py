"""What a new installation needs before anybody can use it; safe to repeat at every start."""

from __future__ import annotations

import secrets

from sqlalchemy import select

from app.services import offers, users
from app.services.changes import RECORDS, audit, changing
from app.services.context import Context
from app.store.models import Counter, Domain, Fabric, Pool, User, Vlan, Zone

ADMIN = "admin"


def prepare(context: Context, domain: str = "muster.internal") -> str | None:
    """Make the defaults that are missing. Returns the password of the first administrator when it was just made."""
    password = None
    with changing(context) as session:
        for model in (Zone, Pool):
            if session.scalar(select(model.id).limit(1)) is None:
                session.add(model(name="default", description="Made at installation"))
        if session.scalar(select(Domain.id).limit(1)) is None:
            session.add(Domain(name=domain))
        if session.scalar(select(Fabric.id).limit(1)) is None:
            fabric = Fabric(name="fabric-0")
            session.add(fabric)
            session.flush()
            session.add(Vlan(fabric_id=fabric.id, vid=0, name="untagged"))
        if session.get(Counter, RECORDS) is None:
            session.add(Counter(name=RECORDS, value=0))
        offers.ensure_key(session, context)
        if session.scalar(select(User.id).limit(1)) is None:
            password = secrets.token_urlsafe(15)
            user = User(
                name=ADMIN, role="admin", password_hash=users.hash_password(password), created_at=context.clock()
            )
            session.add(user)
            session.flush()
            audit(session, context, "create", "user", user.id, name=ADMIN, role="admin")
    return password
