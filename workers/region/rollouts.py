"""Takes a rollout forward: who may be offered it now, how it went on each rack, and the next wave.

What is decided is in `waves`.  All state is in rows, so any region worker goes on where another one stopped, and looking
twice does nothing twice.  Locks are taken in one order: the rollout, its racks' rows in it, racks.
A rack whose turn has not come keeps the files of those services that the rollout changes there; what else changes on it
goes out as ever.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services import refusals, rollouts, settings
from app.services.changes import changing, event
from app.services.context import Context
from app.services.rollout_start import LOCK, OPEN, close, start
from app.store.locks import hold
from app.store.models import Apply, Machine, Observation, Rack, Rollout, RolloutRack, Vlan
from app.store.queries.scopes import SILENT_SECONDS
from app.store.unit_of_work import after_commit
from workers.region import waves

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Turn:
    """A rack's place in the open rollout. may: whether it may be offered what the rollout changes.

    services: what the rollout changes there, once it was looked at.  by_partner: it may because its partner waits for it.
    """

    rollout_id: int
    planned: bool
    may: bool
    status: str
    looked: bool
    services: frozenset[str]
    by_partner: bool = False


def turn_of(session: Session, rack_id: int) -> Turn | None:
    """Whether it is a rack's turn; None when it is in no open rollout. One query."""
    statement = (
        select(RolloutRack, Rollout.status, Rollout.wave)
        .join(Rollout, Rollout.id == RolloutRack.rollout_id)
        .where(RolloutRack.rack_id == rack_id, Rollout.status.in_(OPEN))
    )
    row = session.execute(statement).first()
    if row is None:
        return None
    member, status, wave = row
    reached = member.wave is not None and member.wave <= wave
    may = reached and (status == "running" or member.status != "waiting")
    return Turn(member.rollout_id, wave >= 0, may, member.status, member.looked, frozenset(member.services))


def note(
    session: Session, context: Context, rack_id: int, turn: Turn, *, changed: frozenset[str], number: int, offered: bool
) -> None:
    """Note on a rack's row, which is locked, what came of looking at it.

    changed: services whose files differ from those of its newest offer before; number: its newest offer now.
    """
    member = _locked(session, turn.rollout_id, rack_id)
    if member is None:
        return
    services = sorted({*member.services, *changed})
    if not turn.may:
        if not member.looked:
            member.looked, member.services = True, services
            if not services:
                member.status, member.at = "unchanged", context.clock()
        return
    if (offered and member.status in ("waiting", "refused")) or (member.status == "waiting" and services):
        red = select(Observation.service).where(Observation.rack_id == rack_id, Observation.probes_ok.is_(False))
        member.red = list(session.scalars(red))
        member.status, member.offer_number, member.services = "offered", number, services
        member.looked, member.at, member.reason = True, context.clock(), None
    elif member.status == "waiting" or (member.status == "refused" and member.offer_number is None):
        member.status, member.looked, member.at = "unchanged", True, context.clock()


def still(session: Session, rack_id: int, turn: Turn) -> bool:
    """Lock a rack's row in the rollout, before the rack itself is locked; whether its turn is what it was."""
    _locked(session, turn.rollout_id, rack_id)
    now = turn_of(session, rack_id)
    return now is not None and now.rollout_id == turn.rollout_id and (now.may or turn.by_partner) == turn.may


def failed(session: Session, context: Context, rack_id: int, reason: str) -> None:
    """Note that a rack's configuration cannot be made, if it is its turn."""
    turn = turn_of(session, rack_id)
    if turn is not None and turn.may and (member := _locked(session, turn.rollout_id, rack_id)) is not None:
        member.status, member.reason, member.at = "refused", reason, context.clock()


def begin_upgrade(context: Context, rack_id: int) -> bool:
    """Begin a rollout to all racks, as one of them is rendered anew without a change; whether the rack is in one now.

    A rack that was silent when its turn in an earlier rollout came is none of that: it gets now what it is owed.
    """
    with changing(context) as session:
        hold(session, LOCK)
        if turn_of(session, rack_id) is not None:
            return True
        mine = (
            select(RolloutRack).where(RolloutRack.rack_id == rack_id).order_by(RolloutRack.rollout_id.desc()).limit(1)
        )
        last = session.scalar(mine)
        if last is not None and last.status == "waiting":
            last.status, last.at = "offered", context.clock()
            return False
        racks = set(session.scalars(select(Rack.id).where(Rack.token_hash.is_not(None))))
        return start(session, context, racks, cause="upgrade") is not None


def advance_all(context: Context) -> None:
    """Take every open rollout forward."""
    with context.store.read() as session:
        rollout_ids = list(session.scalars(select(Rollout.id).where(Rollout.status.in_(OPEN))))
    for rollout_id in rollout_ids:
        advance(context, rollout_id)


def advance(context: Context, rollout_id: int) -> None:
    """Look at one rollout: how it went where it was offered, and what follows. A constant number of queries."""
    with changing(context) as session:
        rollout = session.scalar(select(Rollout).where(Rollout.id == rollout_id).with_for_update())
        if rollout is None or rollout.status not in OPEN:
            return
        statement = select(RolloutRack).where(RolloutRack.rollout_id == rollout_id).order_by(RolloutRack.rack_id)
        rows = list(session.scalars(statement.with_for_update()))
        racks = {rack.id: rack for rack in _racks(session, rollout_id)}
        red = _judge(session, context, rollout, rows, racks)
        primary_of = _pairs(session, racks)
        machines = _machines(session, racks)
        members = [_member(context, row, racks[row.rack_id], machines, red) for row in rows if row.rack_id in racks]
        if rollout.wave < 0:
            _plan(session, context, rollout, rows, waves.order(members, primary_of, _size(session, len(members))))
        else:
            pause = float(_setting(session)["pause_seconds"])
            decision = waves.decide(
                members, rollout.wave, context.clock(), pause=pause, begun=rollout.wave_at, primary_of=primary_of
            )
            _carry_out(session, context, rollout, rows, racks, decision)
        if rollout.begun_at is None and (tried := [row for row in rows if row.status in ("offered", "kept")]):
            rollout.begun_at = context.clock()
            message = f"{rollouts.title(session, rollout)} goes to {len(rows)} racks, first to {racks[tried[0].rack_id].name}."
            event(session, context, "rollout.begun", message, rack_id=tried[0].rack_id, rollout=rollout.id)


def _carry_out(
    session: Session,
    context: Context,
    rollout: Rollout,
    rows: list[RolloutRack],
    racks: dict[int, Any],
    decision: waves.Decision,
) -> None:
    if isinstance(decision, waves.Halt):
        if rollout.status == "running":
            rollout.status, rollout.stopped_rack_id, rollout.reason = "halted", decision.rack_id, decision.reason
            message = rollouts.halted_sentence(session, rollout, rows, {rack.id: rack.name for rack in racks.values()})
            rack_id = decision.rack_id
            event(session, context, "rollout.halted", message, rack_id=rack_id, level="error", rollout=rollout.id)
            log.warning("rollout.halted", rollout=rollout.id, rack=racks[decision.rack_id].name, reason=decision.reason)
        return
    if rollout.status == "halted":
        stopped = next((row for row in rows if row.rack_id == rollout.stopped_rack_id), None)
        if stopped is not None and stopped.status in ("waiting", "offered"):
            return  # It tries again.
        message = (
            f"Rollout {rollout.id} goes on: rack {_name(racks, rollout.stopped_rack_id)} does not stop it any more."
        )
        event(session, context, "rollout.continued", message, rack_id=rollout.stopped_rack_id, rollout=rollout.id)
        rollout.status, rollout.stopped_rack_id, rollout.reason = "running", None, None
    if isinstance(decision, waves.Canary):
        for row in rows:
            if row.rack_id == decision.rack_id:
                row.wave, row.canary = rollout.wave + 1, True
            elif row.wave is not None and row.wave > rollout.wave:
                row.wave += 1
        _begin(session, context, rollout, rows, rollout.wave + 1)
    elif isinstance(decision, waves.Begin):
        _begin(session, context, rollout, rows, decision.wave)
    elif isinstance(decision, waves.Done):
        if not any(row.status in ("kept", "passed") for row in rows) and rollout.begun_at is None:
            session.delete(rollout)  # No rack would run anything else: there was nothing to tell.
            return
        close(session, context, rollout.id, "done")
        message = f"{rollouts.title(session, rollout)} is done: {rollouts.counted(rows)}."
        event(session, context, "rollout.done", message, rollout=rollout.id)
        for row in rows:
            if row.status == "waiting":  # It was silent; whatever it is offered now is as it should be.
                after_commit(session, partial(context.ring.reconcile, row.rack_id))


def _plan(
    session: Session, context: Context, rollout: Rollout, rows: list[RolloutRack], order: list[list[int]]
) -> None:
    wave_of = {rack_id: number for number, wave in enumerate(order) for rack_id in wave}
    for row in rows:
        row.wave = wave_of.get(row.rack_id)
        row.canary = row.wave == 0
    _begin(session, context, rollout, rows, 0)


def _begin(session: Session, context: Context, rollout: Rollout, rows: list[RolloutRack], wave: int) -> None:
    rollout.wave, rollout.wave_at = wave, context.clock()
    log.info("rollout.wave", rollout=rollout.id, wave=wave + 1)
    for row in rows:
        if row.wave == wave:
            after_commit(session, partial(context.ring.reconcile, row.rack_id))


def _judge(
    session: Session, context: Context, rollout: Rollout, rows: list[RolloutRack], racks: dict[int, Any]
) -> dict[int, str]:
    """Set what racks have come to by their reports; the probes that are red by rack. Two queries."""
    open_rows = {row.rack_id: row for row in rows if row.status == "offered" and row.rack_id in racks}
    watched = [
        row.rack_id for row in rows if row.status == "offered" or (row.status == "kept" and row.wave == rollout.wave)
    ]
    if not watched:
        return {}
    newest: dict[int, dict[str, Any]] = defaultdict(dict)
    statement = (
        select(Apply.id, Apply.rack_id, Apply.service, Apply.outcome, Apply.stage, Apply.reason)
        .join(RolloutRack, RolloutRack.rack_id == Apply.rack_id)
        .where(RolloutRack.rollout_id == rollout.id, RolloutRack.status == "offered")
        .where(Apply.offer_number >= RolloutRack.offer_number)
        .order_by(Apply.id)
    )
    for apply in session.execute(statement):
        newest[apply.rack_id][apply.service] = apply
    red: dict[int, str] = {}
    seen = select(Observation).where(Observation.rack_id.in_(watched))
    by_rack = {row.rack_id: row for row in rows}
    for one in session.scalars(seen):
        row = by_rack[one.rack_id]
        counts = one.service in row.services and one.service not in row.red and one.at >= row.at
        if counts and (not one.running or one.probes_ok is False):
            red[one.rack_id] = f"{one.service} does not serve: {one.detail or 'no reason was given'}"
    for rack_id, row in open_rows.items():
        applies = newest.get(rack_id, {})
        last = max((apply.id for apply in applies.values()), default=0)
        refused = [
            apply
            for service, apply in applies.items()
            if apply.outcome in refusals.REFUSED
            and (service in row.services or (service == refusals.WHOLE_OFFER and apply.id == last))
        ]
        if refused:
            one = refused[0]
            stage = refusals.STAGES.get(one.stage, f"failed at {one.stage}")
            row.status, row.at = "refused", context.clock()
            row.reason = f"{one.service} {stage}: {one.reason or 'the rack gave no reason'}"
        elif racks[rack_id].applied_offer >= (row.offer_number or 0) and rack_id not in red:
            row.status, row.at = "kept", context.clock()
    return red


def _member(
    context: Context, row: RolloutRack, rack: Any, machines: dict[int, int], red: dict[int, str]
) -> waves.Member:
    silent = rack.seen_at is None or context.clock() - rack.seen_at > dt.timedelta(seconds=SILENT_SECONDS)
    return waves.Member(
        rack_id=row.rack_id,
        name=rack.name,
        status=row.status,
        at=row.at,
        wave=row.wave,
        alive=not silent,
        seen_at=rack.seen_at,
        machines=machines.get(row.rack_id, 0),
        marked=rack.canary,
        first=row.first,
        waited=row.waited,
        fresh=rack.offer_number == 0,
        refused_before=row.status == "waiting" and row.reason is not None,
        red=red.get(row.rack_id),
        reason=row.reason,
    )


def _racks(session: Session, rollout_id: int) -> list[Any]:
    columns = (Rack.id, Rack.name, Rack.seen_at, Rack.applied_offer, Rack.offer_number, Rack.canary)
    mine = select(RolloutRack.rack_id).where(RolloutRack.rollout_id == rollout_id)
    return list(session.execute(select(*columns).where(Rack.id.in_(mine))))


def _pairs(session: Session, racks: dict[int, Any]) -> dict[int, int]:
    """Primaries by their standbys."""
    pairs = select(Vlan.secondary_rack_id, Vlan.rack_id).where(Vlan.secondary_rack_id.is_not(None), Vlan.dhcp_on)
    return {row[0]: row[1] for row in session.execute(pairs.distinct()) if row[0] in racks and row[1] in racks}


def _machines(session: Session, racks: dict[int, Any]) -> dict[int, int]:
    counted = select(Machine.rack_id, func.count()).where(Machine.rack_id.in_(racks)).group_by(Machine.rack_id)
    return {row[0]: row[1] for row in session.execute(counted) if row[0] is not None}


def _setting(session: Session) -> dict[str, Any]:
    return settings.EDITABLE[settings.ROLLOUT][0] | settings.get(session, settings.ROLLOUT, {})


def _size(session: Session, racks: int) -> int:
    value = _setting(session)
    return int(value["wave_racks"]) or math.ceil(racks * int(value["wave_percent"]) / 100)


def _locked(session: Session, rollout_id: int, rack_id: int) -> RolloutRack | None:
    mine = (RolloutRack.rollout_id == rollout_id, RolloutRack.rack_id == rack_id)
    return session.scalar(select(RolloutRack).where(*mine).with_for_update())


def _name(racks: dict[int, Any], rack_id: int | None) -> str:
    return racks[rack_id].name if rack_id in racks else "that is gone"
