"""An operation drawn by time: a bar for each step, from the end of the one before to the last word of its own. Pure.

A step says what it has done in an event, so its last event is its end; the present step began when the row says so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.lifecycle.table import actions

WIDTH = 1000.0
NARROWEST = 4.0


@dataclass(frozen=True)
class Bar:
    """One step: where its bar begins and how wide it is, of 1000; look: done, current or failed."""

    title: str
    x: float
    width: float
    seconds: float
    look: str


def bars(operation: Any, events: Sequence[Any], now: dt.datetime) -> list[Bar]:
    """The steps that have begun; empty for an action that is not known or took no time."""
    if operation is None or operation.action not in actions():
        return []
    steps = [step for step in actions()[operation.action].steps if step.when(operation.parameters)]
    names = [step.name for step in steps]
    here = names.index(operation.step) if operation.step in names else len(names)
    begin, end = operation.started_at, operation.finished_at or now
    said = {
        one.detail["step"]: one.at
        for one in events
        if begin <= one.at <= end and isinstance(one.detail, dict) and isinstance(one.detail.get("step"), str)
    }
    whole = (end - begin).total_seconds()
    if whole <= 0:
        return []
    drawn, at = [], begin
    for index, step in enumerate(steps[: here + 1]):
        last = index == min(here, len(steps) - 1)
        if last:
            until, look = end, {"running": "current", "succeeded": "done"}.get(operation.status, "failed")
        else:
            until = operation.step_started_at if index == here - 1 else said.get(step.name, at)
            until, look = min(max(until, at), end), "done"
        x = WIDTH * (at - begin).total_seconds() / whole
        width = max(WIDTH * (until - at).total_seconds() / whole, NARROWEST)
        drawn.append(Bar(step.title, min(x, WIDTH - NARROWEST), width, (until - at).total_seconds(), look))
        at = until
    return drawn
