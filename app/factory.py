"""Builds the Flask application: mounts blueprints, request ids, limits, headers and problem answers; nothing else."""

from __future__ import annotations

import datetime as dt
import os
import re
import time
import uuid

import structlog
from flask import Flask, Response, abort, g, request

from app import api, identity, metadata, rackapi, web, wiring
from app import config as configuration
from app.api import errors
from app.config import Config
from app.services.context import Context
from app.wiring import log as logging

MAX_BODY_BYTES = 1024 * 1024
SESSION_HOURS = 12
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
}
log = structlog.get_logger(__name__)


def create_app(context: Context, config: Config) -> Flask:
    """The application over this context. Bodies are bounded at 1 MiB; an edge that takes more says so per request."""
    application = Flask("app", static_folder=None)
    keys = wiring.session_keys(config)
    application.config.update(
        SECRET_KEY=keys[0],
        SECRET_KEY_FALLBACKS=keys[1:],
        SESSION_COOKIE_NAME="muster_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.secure_cookie,
        # Sent with each answer, the cookie of one that comes late would bring back a session that was just ended.
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=dt.timedelta(hours=SESSION_HOURS),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MUSTER_CONFIG=config,
    )
    application.json.sort_keys = False  # type: ignore[attr-defined]
    application.url_map.strict_slashes = False
    identity.attach(application, context)
    errors.register(application)
    application.before_request(_begin)
    application.after_request(_end)
    api.mount(application)
    metadata.mount(application)
    application.register_blueprint(rackapi.blueprint)
    web.mount(application)
    return application


def create_app_from_environment() -> Flask:
    """For `gunicorn 'app.factory:create_app_from_environment()'`."""
    config = configuration.load(os.environ)
    logging.set_up(config.log_format)
    return create_app(wiring.wire(config), config)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.began = time.monotonic()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if "\0" in request.path:
        abort(404, "nothing has a NUL character in its address")


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    if response.mimetype in ("text/html", "application/json", errors.MEDIA_TYPE):
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
    seconds = round(time.monotonic() - g.began, 4) if "began" in g else None
    log.info("request.done", method=request.method, path=request.path, status=response.status_code, seconds=seconds)
    return response
