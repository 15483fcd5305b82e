"""The racks: whether each runs what it should, its services with their probes, and how the last offers went.

From here a held plan is approved, a rack compared again with what it should be, and what it refused tried again.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.services import plans, rack_overview, racks, rollouts
from app.services.errors import NotFound
from app.web.forms import Answer, Field, Form, done
from app.web.paging import asked_id

LARGEST = 2**53
PAGE = 100
BACK = ("/racks", "Racks")
RACK = f"<int(max={LARGEST}):rack_id>"


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/racks", "rack_list", rack_list)
    blueprint.add_url_rule("/racks/new", "rack_new", rack_new, methods=["GET", "POST"])
    blueprint.add_url_rule(f"/racks/{RACK}/delete", "rack_delete", rack_delete, methods=["GET", "POST"])
    blueprint.add_url_rule(f"/racks/{RACK}", "rack_page", rack_page)
    blueprint.add_url_rule(f"/racks/{RACK}/reconcile", "rack_reconcile", rack_reconcile, methods=["POST"])
    blueprint.add_url_rule(f"/racks/{RACK}/retry", "rack_retry", rack_retry, methods=["POST"])
    going = f"/racks/{RACK}/rollouts/<int(max={LARGEST}):rollout_id>"
    blueprint.add_url_rule(going, "rollout", rollout_go_on, methods=["POST"])
    blueprint.add_url_rule(f"/racks/{RACK}/canary", "rack_canary", rack_canary, methods=["POST"])
    blueprint.add_url_rule(f"/racks/{RACK}/plans/<int(max={LARGEST}):plan_id>", "plan", approve, methods=["POST"])


def rack_list() -> str:
    """A page of racks; htmx and the live page ask for the rows alone."""
    context = current_context()
    after = asked_id("after") or 0
    found = racks.find(context, after=after, limit=PAGE)
    return render_template(
        _part("racks.html", "_rack_rows.html"),
        context=context,
        racks=found,
        source=f"/racks?after={after}" if after else "/racks",
        first_page="/racks" if after else None,
        next_page=f"/racks?after={found[-1].id}" if len(found) == PAGE else None,
    )


def rack_new() -> Answer:
    """Make a one-time code with which a rack host enrols."""
    context = current_context()
    context.require("admin", "enrol racks")
    words = "Empty: the rack host says its name, or gets one. A name that exists enrols that rack again."
    form = Form("Enrol a rack", "Make a code", BACK, (Field("rack_name", "Name", help=words),))

    def call(given: dict[str, Any]) -> Answer:
        code = racks.new_code(context, given["rack_name"])
        name = f" --name {given['rack_name']}" if given["rack_name"] else ""
        words = (
            f"Good once, for an hour. On the rack host: muster-rack enrol --url {request.host_url}{name} --code-file -"
        )
        return render_template(
            "once.html", context=context, title="The enrolment code", secret=code, back=BACK, words=words
        )

    return form.run(context, call)


def rack_delete(rack_id: int) -> Answer:
    """Forget a rack."""
    context = current_context()
    context.require("admin", "delete a rack")
    row = racks.get(context, rack_id)
    intro = "Its token is dead at once; what it serves goes on until its host is switched off. DHCP must be off before."
    form = Form(
        f"Delete rack {row.name}?", f"Delete {row.name}", (f"/racks/{row.id}", row.name), intro=intro, danger=True
    )

    def call(given: dict[str, Any]) -> Answer:
        racks.delete(context, rack_id)
        return done("/racks", f"Rack {row.name} was deleted.")

    return form.run(context, call)


def rack_page(rack_id: int) -> str:
    """One rack."""
    context = current_context()
    overview = rack_overview.of_rack(context, rack_id)
    return render_template(
        _part("rack.html", "_rack_live.html"), context=context, overview=overview, plan=plans.newest(context, rack_id)
    )


def rack_reconcile(rack_id: int) -> Response | str:
    """Have the rack compared again."""
    rack_overview.reconcile(current_context(), rack_id)
    return _back(rack_id)


def rack_retry(rack_id: int) -> Response | str:
    """Have the rack try again what it refused."""
    rack_overview.retry(current_context(), rack_id)
    return _back(rack_id)


def rollout_go_on(rack_id: int, rollout_id: int) -> Response | str:
    """Let a halted rollout go on without the rack that stopped it."""
    rollouts.go_on(current_context(), rollout_id)
    return _back(rack_id)


def rack_canary(rack_id: int) -> Response | str:
    """Make the rack the first to take what many racks are to take, or take that back: what the page that was seen offered."""
    racks.change(current_context(), rack_id, canary=request.form.get("canary") == "yes")
    return _back(rack_id)


def approve(rack_id: int, plan_id: int) -> Response | str:
    """Let a held plan of this rack go on."""
    context = current_context()
    if plans.get(context, plan_id).rack_id != rack_id:
        raise NotFound(f"plan {plan_id} is not one of rack {rack_id}; look at the rack's page", field="plan_id")
    plans.approve(context, plan_id)
    return _back(rack_id)


def _back(rack_id: int) -> Response | str:
    return rack_page(rack_id) if request.headers.get("HX-Request") else redirect(f"/racks/{rack_id}")


def _part(whole: str, part: str) -> str:
    return part if request.headers.get("HX-Request") else whole
