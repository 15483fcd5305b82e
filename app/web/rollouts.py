"""Rollouts followed: the changes on their way to many racks, wave by wave, where one stopped, and the word to go on."""

from __future__ import annotations

from itertools import groupby

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.services import rollout_list, rollouts
from app.web.forms import LARGEST
from app.web.paging import asked_id

PAGE = 100
LOOKS = {"running": "busy", "halted": "bad", "done": "good", "superseded": "new"}
RACK_LOOKS = {
    "waiting": "new",
    "offered": "busy",
    "kept": "good",
    "unchanged": "live",
    "refused": "bad",
    "passed": "taken",
}
RACK_WORDS = {
    "waiting": "waits for its wave",
    "offered": "is asked to take it",
    "kept": "has kept it, and serves",
    "unchanged": "nothing differs there",
    "refused": "has refused or undone it",
    "passed": "left out by a person",
}


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    rule = f"/rollouts/<int(max={LARGEST}):rollout_id>"
    blueprint.add_url_rule("/rollouts", "rollout_list", list_page)
    blueprint.add_url_rule(rule, "rollout_page", one_page)
    blueprint.add_url_rule(f"{rule}/continue", "rollout_continue", go_on, methods=["POST"])


def list_page() -> str:
    """A page of rollouts, newest first; htmx and the live page ask for the rows alone."""
    context = current_context()
    before = asked_id("before")
    found = rollout_list.latest(context, before or 0, PAGE)
    return render_template(
        "_rollout_rows.html" if request.headers.get("HX-Request") else "rollouts.html",
        context=context,
        rollouts=found,
        looks=LOOKS,
        source=f"/rollouts?before={before}" if before is not None else "/rollouts",
        first_page="/rollouts" if before is not None else None,
        next_page=f"/rollouts?before={found[-1].id}" if len(found) == PAGE else None,
    )


def one_page(rollout_id: int) -> str:
    """One rollout with its waves drawn; htmx and the live page ask for the part that changes alone."""
    context = current_context()
    rollout = rollouts.get(context, rollout_id)
    return render_template(
        "_rollout_live.html" if request.headers.get("HX-Request") else "rollout.html",
        context=context,
        rollout=rollout,
        waves=[(wave, list(racks)) for wave, racks in groupby(rollout.racks, key=lambda one: one.wave)],
        looks=LOOKS,
        rack_looks=RACK_LOOKS,
        rack_words=RACK_WORDS,
        open=rollout.status in ("running", "halted"),
    )


def go_on(rollout_id: int) -> Response | str:
    """Let a halted rollout go on without the rack that stopped it."""
    rollouts.go_on(current_context(), rollout_id)
    return one_page(rollout_id) if request.headers.get("HX-Request") else redirect(f"/rollouts/{rollout_id}", 303)
