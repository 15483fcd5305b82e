"""How facts are shown on pages: pure functions from rows to words, sizes, colours' names and drawn steps."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from app.lifecycle.action import Action, Step
from app.lifecycle.states import State
from app.lifecycle.table import actions, allowed
from app.services.context import ROLES

LOOKS = {
    State.NEW: "new",
    State.READY: "good",
    State.ALLOCATED: "taken",
    State.DEPLOYED: "live",
    State.BROKEN: "bad",
}
NEXT = {
    State.NEW: "commission",
    State.FAILED_COMMISSIONING: "commission",
    State.READY: "deploy",
    State.ALLOCATED: "deploy",
    State.FAILED_DEPLOYMENT: "deploy",
    State.FAILED_RELEASING: "release",
    State.BROKEN: "mark-fixed",
}


@dataclass(frozen=True)
class Doing:
    """What a running step says, and how much of it is done (0 to 1) if that is known."""

    message: str
    fraction: float | None


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


def result_look(status: str) -> str:
    """The CSS class of a script's status."""
    return {"passed": "good", "skipped": "new"}.get(status, "bad")


def severity_look(severity: int) -> str:
    """The CSS class of a severity of syslog, by its number: error and graver, warning, notice, the rest."""
    return "bad" if severity <= 3 else {4: "busy", 5: "live"}.get(severity, "new")


def buttons(state: str, role: str) -> list[Action]:
    """The verbs that a person of this role may ask for now; a viewer may ask for none. The likeliest is first."""
    held = ROLES.index(role) if role in ROLES else -1
    found = [one for one in allowed(State(state)) if one.listed and held >= ROLES.index(one.role)]
    return sorted(found, key=lambda one: one.name != main_verb(state))


def main_verb(state: str) -> str | None:
    """The verb that people most likely want next; it stands first and stands out."""
    return NEXT.get(State(state))


def steps(operation: Any) -> list[DrawnStep]:
    """The steps of an operation, drawn; empty when there is none."""
    wanted = _wanted(operation)
    names = [step.name for step in wanted]
    here = names.index(operation.step) if wanted and operation.step in names else len(names)
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


def doing(operation: Any) -> Doing:
    """What the running step says. How much of it is done is known only while the machine itself works on it."""
    progress = operation.progress or {}
    step = next((one for one in _wanted(operation) if one.name == operation.step), None)
    signal = str(step.parameters.get("signal", "")) if step else ""
    given = progress.get("fraction") if signal.endswith(".finished") else None
    fraction = min(1.0, max(0.0, float(given))) if isinstance(given, int | float) else None
    return Doing(str(progress.get("message") or ""), fraction)


def warnings(operation: Any) -> list[str]:
    """What people were warned of when they asked."""
    return [str(one) for one in (operation.progress or {}).get("warnings") or []] if operation is not None else []


def _wanted(operation: Any) -> list[Step]:
    if operation is None or operation.action not in actions():
        return []
    return [step for step in actions()[operation.action].steps if step.when(operation.parameters)]


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


def day(at: dt.datetime) -> str:
    """`21 November 2026`."""
    return f"{at.day} {at.strftime('%B %Y')}"


def ago(at: dt.datetime | None, now: dt.datetime) -> str:
    """How long ago: `4 s ago`, `3 min ago`, `5 h ago`, else the date."""
    if at is None:
        return "never"
    passed = max(0, int((now - at).total_seconds()))
    if passed < 120:
        return f"{passed} s ago"
    if passed < 7200:
        return f"{passed // 60} min ago"
    return f"{passed // 3600} h ago" if passed < 172_800 else moment(at)


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
