"""Signing in and out."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import authenticate, check_csrf, current_context
from app.identity import sign_in as begin_session
from app.identity import sign_out as end_session
from app.services.errors import ServiceError
from app.web.frame import local_target


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/login", "sign_in", sign_in, methods=["GET", "POST"])
    blueprint.add_url_rule("/logout", "sign_out", sign_out, methods=["POST"])


def sign_in() -> Response | str | tuple[str, int]:
    """The sign-in form; a wrong password says so without saying which half was wrong."""
    target = local_target(request.values.get("next", "/"))
    if request.method == "GET":
        return render_template("login.html", target=target, name="", refusal=None)
    name = request.form.get("name", "").strip()
    try:
        check_csrf()
        begin_session(authenticate(name, request.form.get("password", "")))
    except ServiceError as error:
        return render_template("login.html", target=target, name=name, refusal=error.detail), error.status
    return redirect(target)


def sign_out() -> Response:
    """End the session."""
    current_context()
    end_session()
    return redirect("/login")
