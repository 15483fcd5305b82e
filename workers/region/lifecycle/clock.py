"""Deadlines when the clock jumps, or when nobody looked for a while.

Deadlines are moments in rows, by the control plane's wall clock.  If that clock is set an hour ahead, or the region
worker was away (a restart, a suspended host), every running operation would fail in one breath though no machine did
anything wrong.  So the sweep leaves a mark of when it looked last; a mark that is further off than sweeps ever are, in
either direction, moves all deadlines as far, and each timeline says so.  A machine then has the time that its step
promises, of somebody looking.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.lifecycle.table import actions
from app.services import power
from app.services.changes import event
from app.services.context import Context
from app.store.models import Machine, Operation, PowerOperation, Setting

MARK = "lifecycle_swept"
MARK_SECONDS = 10.0
"""How often the mark is written: sweeps are more frequent, and a write costs a flush to disk."""
LONGEST_GAP_SECONDS = 60.0
"""Further apart than sweeps are on a busy host."""
log = logging.getLogger(__name__)


def follow(session: Session, context: Context) -> float:
    """Compare the clock with the mark and move deadlines if it jumped; by how many seconds (0 when it did not)."""
    now = context.clock()
    mark = session.get(Setting, MARK, with_for_update={"key_share": True})
    if mark is None:
        session.add(Setting(name=MARK, value={"at": now.isoformat()}))
        return 0.0
    gap = (now - dt.datetime.fromisoformat(mark.value["at"])).total_seconds()
    if abs(gap) >= MARK_SECONDS:
        mark.value = {"at": now.isoformat()}
    if abs(gap) <= LONGEST_GAP_SECONDS:
        return 0.0
    log.warning("lifecycle.clock_jumped", extra={"seconds": gap})
    _move(session, context, Jump(now, dt.timedelta(seconds=gap)))
    return gap


@dataclass(frozen=True)
class Jump:
    """The clock was at `now - gap` when somebody looked last, and is at `now`."""

    now: dt.datetime
    gap: dt.timedelta

    @property
    def back(self) -> bool:
        """Whether it went back."""
        return self.gap < dt.timedelta(0)

    def of(self, began: dt.datetime, deadline: dt.datetime, longest_seconds: float) -> dt.timedelta:
        """How far to move a deadline; 0 when the new clock set it. longest_seconds: what it was set ahead at most."""
        if self.back:
            by_the_old = deadline - self.now > dt.timedelta(seconds=longest_seconds)
            return self.gap if by_the_old else dt.timedelta(0)
        return max(dt.timedelta(0), min(self.gap, self.now - began))


def _move(session: Session, context: Context, jump: Jump) -> None:
    statement = select(Operation).where(Operation.status == "running").with_for_update(key_share=True)
    for operation in session.scalars(statement).all():
        _move_operation(session, context, operation, jump)
    orders = select(PowerOperation).where(PowerOperation.status.in_(("waiting", "claimed")))
    orders = orders.with_for_update(skip_locked=True)  # One that is being answered now needs no more time.
    for order in session.scalars(orders).all():
        began = order.claimed_at or order.created_at
        order.deadline_at += jump.of(began, order.deadline_at, power.LONGEST_SECONDS)


def _move_operation(session: Session, context: Context, operation: Operation, jump: Jump) -> None:
    by = dt.timedelta(0)
    if operation.deadline_at is not None:
        by = jump.of(operation.step_started_at, operation.deadline_at, _wait_seconds(operation))
        operation.deadline_at += by
    if operation.wake_at is not None and jump.back:  # Else it is due, which is what a wake time is for.
        latest = jump.now + dt.timedelta(seconds=LONGEST_GAP_SECONDS)
        operation.wake_at = operation.wake_at + by if by else min(operation.wake_at, latest)
    if abs(by.total_seconds()) > LONGEST_GAP_SECONDS:
        _say(session, context, operation, jump.gap.total_seconds())


def _wait_seconds(operation: Operation) -> float:
    """What the operation's step may take; 0 when this version does not know the step."""
    action = actions().get(operation.action)
    if action is None or operation.step_index >= len(action.steps):
        return 0.0
    return float(action.steps[operation.step_index].wait_seconds)


def _say(session: Session, context: Context, operation: Operation, gap: float) -> None:
    """One line for each step, so that two workers whose clocks differ do not fill a timeline."""
    if operation.step_data.get("clock_said"):
        return
    operation.step_data = {**operation.step_data, "clock_said": True}
    hostname = session.scalar(select(Machine.hostname).where(Machine.id == operation.machine_id))
    what = (
        f"the control plane's clock went {gap:.0f} seconds ahead, or its region worker was away for as long"
        if gap > 0
        else f"the control plane's clock went back {-gap:.0f} seconds"
    )
    event(
        session,
        context,
        "machine.step",
        f"{hostname}, {operation.action}: {what}; the deadline of step {operation.step} is moved as far. "
        "If this comes again and again, check the time of every control plane host (chronyc tracking).",
        machine_id=operation.machine_id,
        level="warning",
        step=operation.step,
        seconds=gap,
    )
