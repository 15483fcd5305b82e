"""Renumbering a subnet by hand: what would happen is shown while the new network is typed; then the job is followed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.services import renumber_plan, renumbering, subnets
from app.services.context import Context
from app.services.errors import Forbidden, ServiceError, Unauthorized
from app.web.forms import LARGEST, Answer, Field, Form, ask, both

INTRO = (
    "Everything keeps its place in the new network: gateway, DNS servers, ranges, routes, reservations, machines and"
    " devices, with their names. Both networks are valid until all is moved. Installed machines stay in the old one until"
    " they are released."
)


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    both(blueprint, "/subnets/<#subnet_id>/renumber", subnet_renumber)
    rule = f"/subnets/<int(max={LARGEST}):subnet_id>/renumber/preview"
    blueprint.add_url_rule(rule, "renumber_preview", renumber_preview, methods=["POST"])


def subnet_renumber(subnet_id: int) -> Answer:
    """Move everything to another network."""
    row = subnets.get(current_context(), subnet_id)
    form = Form(
        f"Renumber {row.cidr}",
        "Renumber",
        (f"/subnets/{row.id}", row.cidr),
        (
            Field("cidr", "New network", required=True, empty="", help="Of the same VLAN, beside the old one."),
            Field("force", "Also while addresses of its dynamic ranges are leased", "check", False,
                  "Clients keep those until they ask again; then they are in the new network."),
        ),
        INTRO,
        watch=f"/subnets/{row.id}/renumber/preview",
    )  # fmt: skip

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        job = renumbering.start(context, subnet_id, **given)
        return f"/jobs/{job.id}", f"{row.cidr} is being renumbered to {given['cidr']}."

    return ask(form, "admin", "renumber subnets", call)


def renumber_preview(subnet_id: int) -> str:
    """What would happen, for the network that is being typed."""
    context = current_context()
    context.require("admin", "renumber subnets")
    cidr = request.form.get("cidr", "").strip()
    if not cidr:
        return ""
    try:
        found = renumber_plan.preview(context, subnet_id, cidr, force="force" in request.form)
        return render_template("_renumbering.html", found=found, refusal=None)
    except (Unauthorized, Forbidden):
        raise
    except ServiceError as refusal:
        return render_template("_renumbering.html", found=None, refusal=refusal)
