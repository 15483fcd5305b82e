"""Begins a rollout in the transaction of the change: which racks are to take it, and what they still owe.

A change of one rack, of one pair of partners or of one VLAN's racks is none: it goes out at once (partners one after the
other).  At most one rollout is open.  A newer change that many racks are to take supersedes it and takes over the racks that have not
kept it yet, since a rack is always offered all of desired state; they come early in its waves, so that a stream of
changes leaves nobody waiting for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.services.context import Context
from app.store.locks import hold
from app.store.models import Rack, Rollout, RolloutRack, Vlan

OPEN = ("running", "halted")
UNFINISHED = ("waiting", "offered", "refused")
LOCK = "rollout"
ROLLOUTS_KEPT = 200
CHANGES_KEPT = 10
FIRST_AT_MOST = 4
"""The racks of two VLANs: one that a subnet leaves, and one that it joins."""


def is_shared(session: Session, rack_ids: Collection[int]) -> bool:
    """Whether these are more racks than one, and others than two partners."""
    if len(rack_ids) != 2:
        return len(rack_ids) > 2
    pair = select(Vlan.id).where(Vlan.rack_id.in_(rack_ids), Vlan.secondary_rack_id.in_(rack_ids))
    return session.scalar(pair.limit(1)) is None


def start(
    session: Session,
    context: Context,
    rack_ids: Collection[int],
    *,
    first: Collection[int] = (),
    cause: str = "change",
    changes: Sequence[int | None] = (),
) -> int | None:
    """Have these racks take what has changed one wave after another; the rollout's id, None where it needs none.

    first: racks whose own VLAN it is about; they need it most, and take it before all others.  A handful of statements.
    """
    homes = set(first) if len(first) <= FIRST_AT_MOST else set()
    if homes.issuperset(rack_ids) or not is_shared(session, rack_ids):
        return None
    hold(session, LOCK)
    own = [change for change in changes if change is not None]
    owed: dict[int, RolloutRack] = {}
    for old in session.scalars(select(Rollout).where(Rollout.status.in_(OPEN)).with_for_update()):
        left = select(RolloutRack).where(RolloutRack.rollout_id == old.id, RolloutRack.status.in_(UNFINISHED))
        owed |= {member.rack_id: member for member in session.scalars(left)}
        own = [*old.changes, *own]
        old.status, old.ended_at = "superseded", context.clock()
    enrolled = select(Rack.id).where(Rack.id.in_({*rack_ids, *owed}), Rack.token_hash.is_not(None))
    members = sorted(session.scalars(enrolled))
    if not is_shared(session, members) and not owed:
        return None
    rollout = Rollout(cause=cause, actor=context.actor.name, changes=own[-CHANGES_KEPT:], created_at=context.clock())
    session.add(rollout)
    session.flush()
    rows = [
        {
            "rollout_id": rollout.id,
            "rack_id": rack_id,
            "first": rack_id in homes,
            "waited": rack_id in owed and owed[rack_id].status == "waiting",
            "services": owed[rack_id].services if rack_id in owed and owed[rack_id].status != "waiting" else [],
            "reason": owed[rack_id].reason if rack_id in owed and owed[rack_id].status == "refused" else None,
            "at": context.clock(),
        }
        for rack_id in members
    ]
    session.execute(insert(RolloutRack), rows)
    session.execute(delete(Rollout).where(Rollout.id <= rollout.id - ROLLOUTS_KEPT, Rollout.status.not_in(OPEN)))
    return rollout.id


def is_open(session: Session, rack_id: int) -> bool:
    """Whether a rack is part of the open rollout."""
    mine = select(RolloutRack.rack_id).join(Rollout, Rollout.id == RolloutRack.rollout_id)
    return session.scalar(mine.where(RolloutRack.rack_id == rack_id, Rollout.status.in_(OPEN)).limit(1)) is not None


def close(session: Session, context: Context, rollout_id: int, status: str) -> None:
    """End a rollout that is open."""
    mine = update(Rollout).where(Rollout.id == rollout_id, Rollout.status.in_(OPEN))
    session.execute(mine.values(status=status, ended_at=context.clock()))
