"""The racks: whether each runs what it should, its services with their probes, and how the last offers went.

From here a held plan is approved, a rack compared again with what it should be, and what it refused tried again.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.services import plans, rack_overview, racks
from app.services.errors import NotFound

LARGEST = 2**53
RACK = f"<int(max={LARGEST}):rack_id>"


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/racks", "rack_list", rack_list)
    blueprint.add_url_rule(f"/racks/{RACK}", "rack_page", rack_page)
    blueprint.add_url_rule(f"/racks/{RACK}/reconcile", "rack_reconcile", rack_reconcile, methods=["POST"])
    blueprint.add_url_rule(f"/racks/{RACK}/retry", "rack_retry", rack_retry, methods=["POST"])
    blueprint.add_url_rule(f"/racks/{RACK}/plans/<int(max={LARGEST}):plan_id>", "plan", approve, methods=["POST"])


def rack_list() -> str:
    """All racks; htmx and the live page ask for the rows alone."""
    context = current_context()
    return render_template(_part("racks.html", "_rack_rows.html"), context=context, racks=racks.find(context))


def rack_page(rack_id: int) -> str:
    """One rack."""
    context = current_context()
    overview = rack_overview.of_rack(context, rack_id)
    return render_template(_part("rack.html", "_rack_live.html"), context=context, overview=overview)


def rack_reconcile(rack_id: int) -> Response | str:
    """Have the rack compared again."""
    rack_overview.reconcile(current_context(), rack_id)
    return _back(rack_id)


def rack_retry(rack_id: int) -> Response | str:
    """Have the rack try again what it refused."""
    rack_overview.retry(current_context(), rack_id)
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
