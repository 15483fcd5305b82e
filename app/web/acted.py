"""What has become of the machines that were acted on together: each one's progress, as it happens.

A page of it is named by what was asked (machine and number of its operation, or of its power order), so that it can be
opened again and in another browser, and says nothing that the machines' own pages do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.lifecycle.table import actions
from app.services import lifecycle, machines, power
from app.services.context import Context
from app.services.errors import Invalid
from app.services.machines import MachineFilters
from app.web import present
from app.web.selection_words import MOST, POWER, is_number, titles

ORDERED = {"waiting": "waits for its rack", "claimed": "the rack is at it"}


@dataclass(frozen=True)
class Standing:
    """A machine and how far what was asked of it is. look: busy, good or bad; fraction: 0 to 1 while it runs, if known."""

    machine: Any
    look: str
    sentence: str
    fraction: float | None = None


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/machines/acted", "machines_acted", acted)


def acted() -> str:
    """How far it is; htmx and the live page ask for the part that changes alone."""
    context = current_context()
    verb = request.args.get("verb", "")
    if verb not in titles():
        raise Invalid(f"action {verb!r}: choose one of {', '.join(titles())}", field="verb")
    template = "_acted_live.html" if request.headers.get("HX-Request") else "acted.html"
    return render_template(template, **words(context, verb, _read(request.args.get("asked", ""))))


def words(context: Context, verb: str, asked: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """What the templates of the page need. asked: the machine, and the number of its operation or power order."""
    pairs = list(asked)[:MOST]
    rows = _standings(context, verb, pairs)
    query = urlencode({"verb": verb, "asked": ".".join(f"{machine}-{number}" for machine, number in pairs)})
    return {
        "context": context,
        "title": titles()[verb],
        "standings": rows,
        "counted": {look: sum(one.look == look for one in rows) for look in ("busy", "good", "bad")},
        "follows": ",".join(str(machine) for machine, _ in pairs),
        "here": f"/machines/acted?{query}",
    }


def _read(text: str) -> list[tuple[int, int]]:
    """`3-17.4-18` as pairs of numbers."""
    found = []
    for one in text.split(".")[:MOST]:
        machine, _, number = one.partition("-")
        if not (is_number(machine) and is_number(number)):
            raise Invalid(
                f"asked {one!r}: it is no machine and operation, like 3-17; choose machines on their list",
                field="asked",
            )
        found.append((int(machine), int(number)))
    return found


def _standings(context: Context, verb: str, pairs: list[tuple[int, int]]) -> list[Standing]:
    """The machines that are still there, by name. Two statements and what the list of machines costs."""
    if not pairs:
        return []
    known = machines.find(context, MachineFilters(ids=tuple(machine for machine, _ in pairs)), limit=MOST)
    numbers = [number for _, number in pairs]
    rows: Iterable[Any] = power.orders(context, numbers) if verb in POWER else lifecycle.some(context, numbers)
    by_pair = {(row.machine_id, row.id): row for row in rows}
    of_machine = {machine: by_pair.get((machine, number)) for machine, number in pairs}
    say = _of_order if verb in POWER else _of_operation
    found = [
        say(one, of_machine[one.id]) if of_machine[one.id] is not None else Standing(one, "bad", "not kept any more")
        for one in known
    ]
    return sorted(found, key=lambda one: one.machine.hostname)


def _of_order(machine: Any, order: Any) -> Standing:
    if order.status in ORDERED:
        return Standing(machine, "busy", ORDERED[order.status])
    if order.status == "done":
        return Standing(machine, "good", f"power {order.power or 'unknown'}, after {present.seconds(order.seconds)}")
    return Standing(machine, "bad", order.reason or order.status)


def _of_operation(machine: Any, operation: Any) -> Standing:
    known = actions().get(operation.action)
    done = known.past if known is not None else operation.action
    if operation.status == "succeeded":
        took = (operation.finished_at - operation.started_at).total_seconds() if operation.finished_at else 0
        return Standing(machine, "good", f"{done}, after {present.seconds(took)}" if took >= 1 else done)
    if operation.status != "running":
        return Standing(machine, "bad", operation.reason or operation.status)
    drawn, doing = present.steps(operation), present.doing(operation)
    here = next((number for number, step in enumerate(drawn) if step.look == "current"), 0)
    title = drawn[here].title if drawn else operation.action
    sentence = f"step {here + 1} of {max(len(drawn), 1)}: {title}" + (f" - {doing.message}" if doing.message else "")
    return Standing(machine, "busy", sentence, (here + (doing.fraction or 0.0)) / max(len(drawn), 1))
