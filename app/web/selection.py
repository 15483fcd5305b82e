"""Many machines at once: what would happen to each is said before; how far each is, after (`app.web.acted`).

Each machine is a request of its own to the service, so one that refuses does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.lifecycle.action import Action
from app.lifecycle.states import State
from app.lifecycle.table import ActionRefused, actions, check
from app.services import images, lifecycle, machines, placement, power
from app.services.context import Context
from app.services.errors import Invalid, ServiceError, Unauthorized
from app.services.machines import MachineFilters
from app.web import acted
from app.web.forms import Field, choices, names
from app.web.selection_words import MOST, POWER, is_number, titles

Said = tuple[str, int | None]
"""What was done to a machine, and the number of the operation or power order that goes on."""


@dataclass(frozen=True)
class Row:
    """One machine and a sentence about it. ok: it can be done, or was; number: of the operation or power order it is now."""

    machine: Any
    ok: bool
    sentence: str
    number: int | None = None


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/machines/act", "machines_act", act, methods=["GET", "POST"])


def act() -> str | tuple[str, int]:
    """Say what would happen (GET), or do it and say what has (POST)."""
    context = current_context()
    verb = request.values.get("verb", "")
    if verb not in titles():
        raise Invalid(f"action {verb!r}: choose one of {', '.join(titles())}", field="verb")
    wanted = [one for one in request.values.getlist("machine") if is_number(one)]
    ids = tuple(dict.fromkeys(int(one) for one in wanted))
    if not ids:
        raise Invalid("no machine was chosen; tick some on the list of machines", field="machine")
    if len(ids) > MOST:
        raise Invalid(
            f"{len(ids)} machines were chosen; at most {MOST} at once: choose fewer, or give the rest in a second go",
            field="machine",
        )
    chosen = machines.find(context, MachineFilters(ids=ids), limit=MOST)
    words = {"context": context, "verb": verb, "title": titles()[verb], "known": actions().get(verb)}
    fields = _fields(context, verb)
    if request.method != "POST":
        rows = [_foreseen(one, verb) for one in chosen]
        return render_template("act.html", rows=rows, fields=fields, **words)
    given = {one.name: one.read() for one in fields}
    call = _call(context, verb, {name: value for name, value in given.items() if value not in (None, "")})
    rows = [_done(context, one, call) for one in chosen]
    fresh = {one.id: one for one in machines.find(context, MachineFilters(ids=ids), limit=MOST)}
    rows = [replace(row, machine=fresh.get(row.machine.id, row.machine)) for row in rows]
    asked = [(row.machine.id, row.number) for row in rows if row.number is not None]
    return render_template("acted.html", rows=rows, **acted.words(context, verb, asked))


def _fields(context: Context, verb: str) -> tuple[Field, ...]:
    if verb in actions():
        return action_fields(context, actions()[verb])
    if verb in ("set-zone", "set-pool"):
        word = verb.removeprefix("set-")
        places = placement.find(context, word, limit=500)
        return (Field(word, word.capitalize(), "choice", choices=choices(list(places), key="name"), required=True),)
    if verb in ("add-tag", "remove-tag"):
        return (Field("tag", "Tag", required=True, help="One word; a tag that does not exist yet is made."),)
    return ()


def action_fields(context: Context, action: Action) -> tuple[Field, ...]:
    """The parameters of a lifecycle verb as fields."""
    found = []
    for one in action.parameters:
        label = one.name.replace("_", " ").capitalize()
        if one.name == "image":
            known = sorted({image.name for image in images.find(context, limit=500) if image.current})
            found.append(Field(one.name, label, "choice", help=one.help, choices=(("", "the default"), *names(known))))
        elif one.choices:
            found.append(Field(one.name, label, "choice", one.default, one.help, choices=names(one.choices)))
        else:
            found.append(Field(one.name, label, "area" if one.name == "user_data" else "text", help=one.help))
    return tuple(found)


def _foreseen(machine: Any, verb: str) -> Row:
    state = State(machine.state)
    if verb in actions():
        try:
            action = check(verb, state)
        except ActionRefused as refusal:
            return Row(machine, False, str(refusal))
        return Row(machine, True, f"will be {action.past}")
    if verb == "abort":
        return Row(machine, state.is_transient, "will be stopped" if state.is_transient else "nothing is under way")
    if verb in POWER:
        if not power.has_controller(machine):
            return Row(machine, False, "has no BMC that Muster can reach")
        if state.is_transient:
            return Row(machine, False, f"is {state.label.lower()}: switching it now would break that")
        return Row(
            machine, True, "will be " + {"on": "switched on", "off": "switched off"}.get(POWER[verb][0], "cycled")
        )
    return Row(machine, True, "will be changed")


def _call(context: Context, verb: str, given: dict[str, str]) -> Callable[[Any], Said]:
    if verb in actions():
        past = actions()[verb].past

        def ask(machine: Any) -> Said:
            operation = lifecycle.request(context, machine.id, verb, given)
            return "under way" if operation.status == "running" else past, operation.id

        return ask
    if verb == "abort":
        return lambda machine: (f"{lifecycle.abort(context, machine.id).action} was aborted", None)
    if verb in POWER:

        def switch(machine: Any) -> Said:
            order = power.request(context, machine.id, POWER[verb][0])
            return f"ordered: power {order.verb}", order.id

        return switch
    word = "tag" if verb.endswith("tag") else verb.removeprefix("set-")
    if not given.get(word):
        raise Invalid(f"{word}: name one", field=word)
    value = given[word]

    def change(machine: Any) -> Said:
        tags = {tag.name for tag in machine.tags}
        if word == "tag":
            machines.update(context, machine.id, tags=tags | {value} if verb == "add-tag" else tags - {value})
        elif word == "zone":
            machines.update(context, machine.id, zone=value)
        else:
            machines.update(context, machine.id, pool=value)
        return "changed", None

    return change


def _done(context: Context, machine: Any, call: Callable[[Any], Said]) -> Row:
    try:
        return Row(machine, True, *call(machine))
    except Unauthorized:
        raise
    except ServiceError as refusal:
        return Row(machine, False, refusal.detail + (f" Remedy: {refusal.remedy}." if refusal.remedy else ""))
