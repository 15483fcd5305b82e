"""The racks: whether each runs what it should, its services with their probes, and how the last offers went."""

from __future__ import annotations

from flask import Blueprint, render_template

from app.identity import current_context
from app.services import rack_overview, racks


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/racks", "rack_list", rack_list)
    blueprint.add_url_rule("/racks/<int:rack_id>", "rack_page", rack_page)


def rack_list() -> str:
    """All racks."""
    context = current_context()
    return render_template("racks.html", context=context, racks=racks.find(context))


def rack_page(rack_id: int) -> str:
    """One rack."""
    context = current_context()
    return render_template("rack.html", context=context, overview=rack_overview.of_rack(context, rack_id))
