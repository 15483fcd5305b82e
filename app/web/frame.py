"""What all pages share: the blueprint, the way to the sign-in page, error pages, and how things are shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from app.identity import csrf_token, current_context
from app.services.errors import ServiceError, Unauthorized
from app.web import present

TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "web"

blueprint = Blueprint("web", __name__, template_folder=str(TEMPLATES), static_folder="static", static_url_path="/static")


@blueprint.app_context_processor
def _shared() -> dict[str, object]:
    return {"csrf_token": csrf_token, "present": present}


@blueprint.errorhandler(ServiceError)
def _refused(error: ServiceError) -> BaseResponse | tuple[str, int]:
    """Nobody signed in goes to the sign-in page; any other refusal is a page that says what to do."""
    if isinstance(error, Unauthorized) and request.endpoint != "web.sign_in":
        where = f"/login?{urlencode({'next': request.full_path if request.query_string else request.path})}"
        if request.headers.get("HX-Request"):
            return Response("", 204, {"HX-Redirect": where})
        return redirect(where)
    if request.headers.get("HX-Request"):
        return render_template("_refusal.html", error=error), error.status
    return render_template("error.html", error=error, signed_in=_signed_in()), error.status


def _signed_in() -> str | None:
    try:
        return current_context().actor.name
    except ServiceError:
        return None


def local_target(path: str) -> str:
    """A path of these pages to go to; anything that would leave them becomes the machines page."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or any(ord(letter) < 32 for letter in path):
        return "/machines"
    return path
