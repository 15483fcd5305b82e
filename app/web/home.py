"""The first page: what is wrong, what is busy, what is free."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.lifecycle.states import State
from app.services import overview
from app.web import jobs


def register(blueprint: Blueprint) -> None:
    """Add this page."""
    blueprint.add_url_rule("/", "home", home)


def home() -> str:
    """The dashboard; htmx and the live page ask for what changes alone."""
    context = current_context()
    template = "_home_live.html" if request.headers.get("HX-Request") else "home.html"
    return render_template(
        template, context=context, seen=overview.look(context), order=list(State), job_title=jobs.title
    )
