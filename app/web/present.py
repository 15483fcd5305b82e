"""How facts are shown on pages: pure functions from rows to words, sizes, colours' names and drawn steps."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from app.lifecycle.states import State
from app.lifecycle.table import actions, allowed

LOOKS = {
    State.NEW: "new",
    State.READY: "good",
    State.ALLOCATED: "taken",
    State.DEPLOYED: "live",
    State.BROKEN: "bad",
}


@dataclass(frozen=True)
class DrawnStep:
    """One step of an operation as it is drawn. look: done, current, failed or ahead."""

    title: str
    look: str


def state_label(state: str) -> str:
    """`FAILED_DEPLOYMENT` as `Failed deployment`."""
    return State(state).label


def state_look(state: str) -> str:
    """The CSS class of a state: new, good, taken, live, busy or bad."""
    value = State(state)
    if value.is_transient:
        return "busy"
    return LOOKS.get(value, "bad")


def buttons(state: str) -> list[dict[str, object]]:
    """The verbs that may be asked now, as buttons: name, title, confirmation, choices of parameters."""
    return [
        {"name": one.name, "title": one.title, "confirm": one.confirm, "parameters": one.parameters}
        for one in allowed(State(state))
        if one.listed
    ]


def steps(operation: Any) -> list[DrawnStep]:
    """The steps of an operation, drawn; empty when there is none."""
    if operation is None or operation.action not in actions():
        return []
    wanted = [step for step in actions()[operation.action].steps if step.when(operation.parameters)]
    names = [step.name for step in wanted]
    here = names.index(operation.step) if operation.step in names else len(names)
    drawn = []
    for index, step in enumerate(wanted):
        if operation.status == "succeeded" or index < here:
            look = "done"
        elif index == here:
            look = "current" if operation.status == "running" else "failed"
        else:
            look = "ahead"
        drawn.append(DrawnStep(step.title, look))
    return drawn


def size(count: int | None) -> str:
    """Bytes in powers of two: `8.0 GiB`."""
    if not count:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit in ("B", "KiB", "MiB") else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def memory(mebibytes: int | None) -> str:
    """Memory: `16.0 GiB`."""
    return size(mebibytes * 2**20) if mebibytes else "-"


def moment(at: dt.datetime | None) -> str:
    """A time of day in UTC, with the date: `2026-11-21 14:03:07`."""
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else "-"


def time_of_day(at: dt.datetime) -> str:
    """`14:03:07`."""
    return at.strftime("%H:%M:%S")


def seconds(value: float | None) -> str:
    """`0.42 s`, `37 s`, `2 min 5 s`."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def address_list(machine: Any) -> str:
    """All addresses of a machine, the boot interface's first."""
    interfaces = sorted(machine.interfaces, key=lambda one: (not one.boot, one.id))
    return ", ".join(address.address for interface in interfaces for address in interface.addresses) or "-"
