"""The machines: a list with filters, and one machine with its drawn steps, its live timeline, inventory and results."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.lifecycle.states import State
from app.lifecycle.table import actions
from app.services import events, images, lifecycle, machines, placement, power, results, syslog
from app.services.context import Context
from app.services.errors import Invalid
from app.services.machines import MachineFilters
from app.services.syslog import SyslogFilters
from app.web import inventory, timeline
from app.web.paging import asked_id
from app.web.selection_words import titles

PAGE = 100
TIMELINE = 200
OPERATIONS = 10
LOGGED = 12
POWER_VERBS = ("on", "off", "cycle", "query")


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/machines", "machine_list", machine_list)
    blueprint.add_url_rule("/machines/<machine>", "machine_page", machine_page)
    blueprint.add_url_rule("/machines/<machine>/live", "machine_live", machine_live)
    blueprint.add_url_rule("/machines/<machine>/ask/<verb>", "machine_ask", machine_ask, methods=["POST"])
    blueprint.add_url_rule("/machines/<machine>/power/<verb>", "machine_power", machine_power, methods=["POST"])


def machine_list() -> str:
    """A page of machines; htmx asks for the rows alone."""
    context = current_context()
    state, text = request.args.get("state", ""), request.args.get("text", "").strip()
    if state and state not in State.__members__:
        raise Invalid(f"state {state!r} is not one of {', '.join(State)}; choose one of them", field="state")
    after = asked_id("after") or 0
    zone, pool, tag = (request.args.get(name, "") for name in ("zone", "pool", "tag"))
    filters = MachineFilters(
        states=(state,) if state else (), text=text or None, zone=zone or None, pool=pool or None,
        tags=(tag,) if tag else (),
    )  # fmt: skip
    found = machines.find(context, filters, after=after, limit=PAGE)
    template = "_machine_rows.html" if request.headers.get("HX-Request") else "machines.html"
    given = {"state": state, "text": text, "zone": zone, "pool": pool, "tag": tag}
    asked = {name: value for name, value in given.items() if value}
    following = urlencode({**asked, "after": found[-1].id}) if len(found) == PAGE else None
    return render_template(
        template,
        context=context,
        machines=found,
        state=state,
        text=text,
        states=list(State),
        chosen={"zone": zone, "pool": pool, "tag": tag},
        places={word: placement.find(context, word, limit=500) for word in ("zone", "pool", "tag")},
        acts=titles(),
        this_page=urlencode({**asked, "after": after}),
        first_page=urlencode(asked) if after else None,
        next_page=following,
    )


def machine_page(machine: str) -> str:
    """One machine."""
    context = current_context()
    return render_template("machine.html", **_whole(context, machine))


def machine_live(machine: str) -> str:
    """The part of a machine's page that changes."""
    context = current_context()
    return render_template("_machine_live.html", **_whole(context, machine))


def machine_ask(machine: str, verb: str) -> Response | str:
    """Ask a lifecycle verb of a machine."""
    context = current_context()
    row = machines.get(context, machine)
    if verb == "abort":
        lifecycle.abort(context, row.id)
    else:
        known = actions().get(verb)
        if known is None:
            raise Invalid(f"no action is named {verb!r}", field="action")
        given = {one.name: request.form[one.name] for one in known.parameters if request.form.get(one.name)}
        lifecycle.request(context, row.id, verb, given)
    return _back(context, machine)


def machine_power(machine: str, verb: str) -> Response | str:
    """Order the power of a machine."""
    context = current_context()
    if verb not in POWER_VERBS:
        raise Invalid(f"power verb {verb!r} is not one of {', '.join(POWER_VERBS)}", field="verb")
    power.request(context, machines.get(context, machine).id, verb)
    return _back(context, machine)


def _back(context: Context, machine: str) -> Response | str:
    if request.headers.get("HX-Request"):
        return render_template("_machine_live.html", **_whole(context, machine))
    return redirect(f"/machines/{machines.get(context, machine).id}")


def _whole(context: Context, machine: str) -> dict[str, object]:
    row = machines.get(context, machine)
    operations = lifecycle.operations(context, row.id, limit=OPERATIONS)
    happened = events.newest(context, TIMELINE, machine_id=row.id)
    known = images.find(context, limit=500)
    return {
        "context": context,
        "machine": row,
        "operation": operations[0] if operations else None,
        "running": bool(operations) and operations[0].status == "running",
        "operations": operations,
        "bars": timeline.bars(operations[0] if operations else None, happened, context.clock()),
        "events": list(reversed(happened)),
        "timeline_limit": TIMELINE,
        "logged": syslog.find(context, SyslogFilters(machine_id=row.id), limit=LOGGED),
        "results": results.for_machine(context, row.id),
        "images": sorted({image.name for image in known if image.current}),
        "image": next((image.name for image in known if image.id == row.image_id), None),
        "facts": inventory.facts(row.inventory),
        "devices": inventory.devices(row.inventory),
        "power_verbs": POWER_VERBS,
        "as_json": lambda value: json.dumps(value, indent=2, sort_keys=True),
    }
