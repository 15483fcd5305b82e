"""What all pages share: the blueprint, the way to the sign-in page, error pages, static files and how things are shown."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from app.identity import csrf_token, current_context
from app.services.errors import UNREACHABLE, NotFound, ServiceError, Unauthorized, without_database
from app.web import present

TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "web"
STATIC = Path(__file__).resolve().parent / "static"
YEAR_SECONDS = 365 * 24 * 3600
Otherwise = Callable[[HTTPException], Any]


class Pages(Blueprint):
    """The blueprint of the pages. A static file asked for with the digest of its content may be kept for a year."""

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """Seconds that a browser may keep a file without asking; None makes it ask, by ETag."""
        if filename is not None and request.args.get("v") == digest(filename):
            return YEAR_SECONDS
        return None


def make_blueprint() -> Blueprint:
    """A blueprint with what all pages share, and no page yet."""
    blueprint = Pages(
        "web", __name__, template_folder=str(TEMPLATES), static_folder=str(STATIC), static_url_path="/static"
    )
    blueprint.app_context_processor(_shared)
    blueprint.register_error_handler(ServiceError, _refused)
    for kind in UNREACHABLE:
        blueprint.register_error_handler(kind, _without_database)
    return blueprint


@cache
def digest(filename: str) -> str:
    """The beginning of the SHA-256 of a static file; empty when there is none of this name."""
    path = (STATIC / filename).resolve()
    if not path.is_relative_to(STATIC) or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def static_url(filename: str) -> str:
    """Where a static file is, with its digest, so that a new file is never mistaken for an old one."""
    return url_for("web.static", filename=filename, v=digest(filename))


def _shared() -> dict[str, object]:
    return {"csrf_token": csrf_token, "present": present, "static_url": static_url}


def _refused(error: ServiceError) -> BaseResponse | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Nobody signed in goes to the sign-in page; any other refusal is a page that says what to do.

    htmx gets a notice that it puts beside the page (out of band) instead of swapping the target for it.
    """
    partly = bool(request.headers.get("HX-Request"))
    if isinstance(error, Unauthorized):
        asked = request.full_path if request.query_string else request.path
        where = asked if request.method in ("GET", "HEAD") and not partly else "/"
        target = f"/login?{urlencode({'next': where})}"
        return Response("", 204, {"HX-Redirect": target}) if partly else redirect(target)
    if partly:
        return render_template("_refusal.html", error=error), error.status, {"HX-Reswap": "none"}
    return _page_of(error)


def _without_database(error: Exception) -> tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Who is looking cannot be known, so the page has no way to anywhere but what it says."""
    told = without_database(error)
    if request.headers.get("HX-Request"):
        return render_template("_refusal.html", error=told), told.status, {"HX-Reswap": "none"}
    return render_template("error.html", error=told), told.status


def answer_nowhere(otherwise: Otherwise) -> Otherwise:
    """The handler of 404s for the whole application: a browser gets a page where no address leads; all else `otherwise`."""

    def answer(error: HTTPException) -> Any:
        asks_for_a_page = request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html"
        if request.url_rule is not None or error.response is not None or not asks_for_a_page:
            return otherwise(error)
        return _page_of(NotFound(f"there is no page at {request.path}", remedy="look at the address, or begin below"))

    return answer


def _page_of(error: ServiceError) -> tuple[str, int]:
    try:
        known = {"context": current_context()}
    except ServiceError:
        known = {}
    return render_template("error.html", error=error, **known), error.status


def local_target(path: str) -> str:
    """A path of these pages to go to; anything that would leave them becomes the first page."""
    if not path.startswith("/") or path.startswith("//") or "\\" in path or any(ord(letter) < 32 for letter in path):
        return "/"
    return path
