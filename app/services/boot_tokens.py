"""Boot tokens: what one boot of one machine may call, and from where.

A token is *armed* by a step of an operation before its secret exists: the secret is made when the machine fetches its
boot script, goes onto that machine's kernel command line, and only its SHA-256 is kept.  It is bound to the address
that fetched the script, and dies with the state (`app.services.transition.enter`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.services.changes import changing, event
from app.services.context import Context
from app.services.errors import Forbidden, ServiceError, Unauthorized
from app.services.racks import KnownRack
from app.store.models import BootToken, IpAddress, Machine, Rack
from app.store.prepared import Prepared

BOOT_PURPOSES = ("commission", "install", "erase")
ENLIST = "enlist"
PHONE_HOME = "phone-home"
ENLIST_SECONDS = 1800
_END_OLDER = Prepared(
    update(BootToken)
    .where(
        BootToken.operation_id == bindparam("of_operation"),
        BootToken.purpose == bindparam("of_purpose"),
        BootToken.revoked_at.is_(None),
    )
    .values(revoked_at=bindparam("now"))
)
_WRITE = Prepared(insert(BootToken), "token_hash", "purpose", "machine_id", "operation_id", "issued_at", "expires_at")
_ISSUE = Prepared(
    insert(BootToken),
    *("token_hash", "purpose", "machine_id", "operation_id", "rack_id", "mac", "address", "issued_at", "expires_at"),
)
_OF_HASH = select(*BootToken.__table__.columns).where(BootToken.token_hash == bindparam("token_hash"))
_BY_HASH, _HELD_BY_HASH = Prepared(_OF_HASH), Prepared(_OF_HASH.with_for_update())
_USE = Prepared(
    update(BootToken)
    .where(BootToken.id == bindparam("token_id"))
    .values(used_at=bindparam("now"), address=bindparam("client"))
)
_ARMED = Prepared(
    select(BootToken.id, BootToken.purpose, BootToken.operation_id, BootToken.used_at, BootToken.address)
    .where(
        BootToken.machine_id == bindparam("machine_id"),
        or_(*(BootToken.purpose == purpose for purpose in BOOT_PURPOSES)),
        BootToken.revoked_at.is_(None),
        BootToken.expires_at > bindparam("now"),
    )
    .order_by(BootToken.id.desc())
    .limit(1)
    .with_for_update()
)
_SERVE = Prepared(
    update(BootToken)
    .where(BootToken.id == bindparam("token_id"))
    .values(
        token_hash=bindparam("new_hash"),
        rack_id=bindparam("through"),
        mac=bindparam("booting"),
        address=bindparam("client"),
    )
)


class Armed(NamedTuple):
    """A live boot token, served or not yet: columns of `app.store.models.BootToken`."""

    id: int
    purpose: str
    operation_id: int | None
    used_at: dt.datetime | None
    address: str | None


@dataclass(frozen=True)
class MachineCaller:
    """Who calls the machine edge: the relaying rack, the client's address as that rack saw it, and the token's row."""

    rack_id: int
    rack_name: str
    address: str
    token_id: int
    purpose: str
    machine_id: int | None
    operation_id: int | None
    mac: str | None


def digest(raw: str) -> str:
    """How a token is kept."""
    return hashlib.sha256(raw.encode()).hexdigest()


def arm(session: Session, context: Context, machine_id: int, operation_id: int, purpose: str, seconds: int) -> None:
    """Allow one network boot for `purpose`; whatever was armed for the operation before is not any more."""
    _end_older(session, context, operation_id, purpose)
    now = context.clock()
    values = {
        "token_hash": f"armed:{secrets.token_hex(16)}",
        "purpose": purpose,
        "machine_id": machine_id,
        "operation_id": operation_id,
        "issued_at": now,
        "expires_at": now + dt.timedelta(seconds=seconds),
    }
    _WRITE.run(session, **values)


def armed(session: Session, context: Context, machine_id: int) -> Armed | None:
    """The machine's live boot token, served or not yet; locked."""
    row = _ARMED.first(session, machine_id=machine_id, now=context.clock())
    return None if row is None else Armed(*row)


def serve(session: Session, token: Armed, rack: KnownRack, mac: str, address: str) -> str:
    """Make the secret of an armed token, bound to the client that is about to boot with it. An earlier secret is dead."""
    raw = secrets.token_urlsafe(32)
    _SERVE.run(session, token_id=token.id, new_hash=digest(raw), through=rack.id, booting=mac, client=address)
    return raw


def issue(
    session: Session,
    context: Context,
    purpose: str,
    *,
    rack: KnownRack | Rack,
    address: str | None,
    seconds: int,
    mac: str | None = None,
    machine_id: int | None = None,
    operation_id: int | None = None,
) -> str:
    """A token that can be used at once: for enlisting, or for an installed system's first call.

    address: None when it will only be known at the first use, as where the installed system gets it by DHCP.
    """
    if operation_id is not None:
        _end_older(session, context, operation_id, purpose)
    raw = secrets.token_urlsafe(32)
    now = context.clock()
    values = {
        "token_hash": digest(raw),
        "purpose": purpose,
        "machine_id": machine_id,
        "operation_id": operation_id,
        "rack_id": rack.id,
        "mac": mac,
        "address": address,
        "issued_at": now,
        "expires_at": now + dt.timedelta(seconds=seconds),
    }
    _ISSUE.run(session, **values)
    return raw


def tidy_enlisting(session: Session, context: Context, rack: KnownRack, address: str, mac: str) -> int:
    """Forget unused enlist tokens that have expired or that this caller replaces; how many others it has."""
    unused = (BootToken.purpose == ENLIST, BootToken.machine_id.is_(None))
    mine = (BootToken.rack_id == rack.id, BootToken.address == address)
    over = or_(BootToken.expires_at <= context.clock(), and_(*mine, BootToken.mac == mac))
    session.execute(delete(BootToken).where(*unused, over).execution_options(synchronize_session=False))
    return session.scalar(select(func.count()).select_from(BootToken).where(*unused, *mine)) or 0


def check(context: Context, rack: KnownRack | Rack, address: str, raw: str, purposes: Iterable[str]) -> MachineCaller:
    """Who holds this token. Unauthorized: unknown or dead. Forbidden: another purpose, address or rack.

    A refused use of a known token is written to its machine's timeline.
    """
    wanted = tuple(purposes)
    hashed = digest(raw)
    row = context.store.row(_BY_HASH, token_hash=hashed)
    if row is not None and row.used_at is not None and _refusal(context, row, rack, address, wanted) is None:
        return _caller(row, rack, address)  # Most calls: a good token that was used before needs no write.
    with changing(context) as session:
        token = _HELD_BY_HASH.first(session, token_hash=hashed)
        if token is None or not hmac.compare_digest(token.token_hash, hashed):
            raise Unauthorized("boot token: unknown; boot this machine through its rack's boot script")
        refusal = _refusal(context, token, rack, address, wanted, beside=_beside(session, token, rack))
        if refusal is None:
            if token.used_at is None:
                _USE.run(session, token_id=token.id, now=context.clock(), client=token.address or address)
            return _caller(token, rack, address)
        known = token.machine_id is not None and session.get(Machine, token.machine_id) is not None
        event(
            session,
            context,
            "machine.boot",
            f"A call with a boot token was refused: {refusal.detail}",
            machine_id=token.machine_id if known else None,
            rack_id=None if known else rack.id,
            level="warning",
            address=address,
            purpose=token.purpose,
        )
    raise refusal


def _caller(token: Row[Any], rack: KnownRack | Rack, address: str) -> MachineCaller:
    return MachineCaller(
        rack_id=rack.id,
        rack_name=rack.name,
        address=address,
        token_id=token.id,
        purpose=token.purpose,
        machine_id=token.machine_id,
        operation_id=token.operation_id,
        mac=token.mac,
    )


def _beside(session: Session, token: Row[Any], rack: KnownRack | Rack) -> bool:
    """Whether the rack may pass on this token for the one that handed it out, because machines call both by one name.

    Only an installed system's call goes by name (`app.services.rack_names`), to a rack of the same subnet.
    """
    if token.purpose != PHONE_HOME or token.rack_id is None or token.rack_id == rack.id:
        return False
    ours = select(IpAddress.subnet_id).where(IpAddress.kind == "rack", IpAddress.rack_id == rack.id)
    theirs = select(IpAddress.id).where(
        IpAddress.kind == "rack", IpAddress.rack_id == token.rack_id, IpAddress.subnet_id.in_(ours)
    )
    return session.scalar(theirs.limit(1)) is not None


def _refusal(
    context: Context,
    token: Row[Any],
    rack: KnownRack | Rack,
    address: str,
    purposes: tuple[str, ...],
    *,
    beside: bool = False,
) -> ServiceError | None:
    if token.revoked_at is not None or token.expires_at <= context.clock():
        return Unauthorized(f"boot token for {token.purpose}: it is dead, because what it was made for has ended")
    if token.rack_id is not None and token.rack_id != rack.id and not beside:
        return Forbidden(f"boot token for {token.purpose}: it was not handed out through rack {rack.name}")
    if token.address is not None and token.address != address:
        return Forbidden(f"boot token for {token.purpose}: it belongs to {token.address} and was used from {address}")
    if token.purpose not in purposes:
        return Forbidden(f"boot token for {token.purpose}: it is not for {' or '.join(purposes)}")
    return None


def _end_older(session: Session, context: Context, operation_id: int, purpose: str) -> None:
    _END_OLDER.run(session, of_operation=operation_id, of_purpose=purpose, now=context.clock())
