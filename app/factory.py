"""Builds the Flask application: mounts blueprints, request ids, limits, headers and problem answers; nothing else."""

from __future__ import annotations

import gc
import ipaddress
import os
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Request, Response, abort, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import Rule

from app import api, identity, metadata, metrics, rackapi, watching, web, wiring
from app import config as configuration
from app.api import errors
from app.config import Config
from app.services import sessions
from app.services.context import Context
from app.wiring import log as logging
from app.wiring.secret_box import KeyFile

MAX_BODY_BYTES = 1024 * 1024
SMALL_BODY_BYTES = 64 * 1024
OPEN_TO_ALL = ("login.login", "session.begin", "rackapi.enrol", "web.sign_in")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LONG_POLLS = ("/rack/v1/wait",)
LOOPBACK = ("127.0.0.1", "::1")
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
    "Cache-Control": "no-store",
}
"""Of pages and JSON, where the view has not set them."""
_NAMED = {name.lower(): (name, value) for name, value in HEADERS.items()}
log = structlog.get_logger(__name__)


class BoundedRequest(Request):
    """A request whose body is refused, not cut off, when it is larger than allowed.

    Werkzeug ends the stream of a chunked body, which does not say its length, at the bound without a word.
    """

    def get_data(self, *args: Any, **kwargs: Any) -> Any:
        """The body. RequestEntityTooLarge when it reaches the bound without having said how long it is."""
        data = super().get_data(*args, **kwargs)
        bound = self.max_content_length
        if self.content_length is None and bound is not None and len(data) >= bound:
            raise RequestEntityTooLarge
        return data


class Route(Rule):
    """A route that learns to build its address when it first has to: few ever do, and it was most of a server's start."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        learn = super()._compile_builder
        learnt: list[Callable[..., tuple[str, str]]] = []

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:
            if not learnt:
                learnt.append(learn(append_unknown))
            return learnt[0](rule, **values)

        return build


class BehindProxy:
    """Says who is asking where a proxy on this host asks for them: what it writes into X-Real-IP.

    X-Forwarded-For is left to racks' relays, which say there which machine is asking (`app.services.relays`).
    """

    def __init__(self, inner: Callable[..., Any]) -> None:
        self._inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer as the application does. Somebody who is not on this host is believed nothing."""
        said = environ.get("HTTP_X_REAL_IP", "").strip()
        if said and environ.get("REMOTE_ADDR") in LOOPBACK:
            try:
                environ["REMOTE_ADDR"] = str(ipaddress.ip_address(said))
            except ValueError:
                log.warning("proxy.address", said=said[:60])
        return self._inner(environ, start_response)


class Sessions(SecureCookieSessionInterface):
    """Sessions in signed cookies, whose keys follow the secret keys without a restart."""

    def __init__(self, key_file: KeyFile) -> None:
        self._key_file = key_file

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The caller's session. One that an older key has signed is signed anew with the answer."""
        if "HTTP_COOKIE" not in request.environ:  # A program, a rack or a machine: there is nothing to be opened.
            return self.session_class()
        found = super().open_session(app, request)
        if found and app.config["SECRET_KEY_FALLBACKS"]:
            newest = URLSafeTimedSerializer(
                str(app.secret_key),
                salt=self.salt,
                serializer=self.serializer,
                signer_kwargs={"key_derivation": self.key_derivation, "digest_method": self.digest_method},
            )
            found.modified = not newest.loads_unsafe(request.cookies[self.get_cookie_name(app)])[0]
        return found

    def get_signing_serializer(self, app: Flask) -> Any:
        """The serializer with the present keys."""
        newest, *older = wiring.session_keys_of(self._key_file.keys())
        if app.secret_key != newest or app.config["SECRET_KEY_FALLBACKS"] != older:
            app.config.update(SECRET_KEY=newest, SECRET_KEY_FALLBACKS=older)
        return super().get_signing_serializer(app)


def create_app(context: Context, config: Config) -> Flask:
    """The application over this context. Bodies are bounded at 1 MiB; an edge that takes more says so per request."""
    application = Flask("app", static_folder=None)
    application.request_class = BoundedRequest
    application.url_rule_class = Route
    key_file = wiring.key_file(config)
    keys = wiring.session_keys_of(key_file.keys())
    application.session_interface = Sessions(key_file)
    application.config.update(
        SECRET_KEY=keys[0],
        SECRET_KEY_FALLBACKS=keys[1:],
        SESSION_COOKIE_NAME="muster_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.secure_cookie,
        # Sent with each answer, the cookie of one that comes late would bring back a session that was just ended.
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=sessions.LIFE,
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
    watching.mount(application, context)
    web.mount(application, errors.of_http)
    if config.behind_proxy:
        application.wsgi_app = BehindProxy(application.wsgi_app)  # type: ignore[method-assign]
    return application


def create_app_from_environment() -> Flask:
    """For `gunicorn 'app.factory:create_app_from_environment()'`."""
    config = configuration.load(os.environ)
    logging.set_up(config.log_format)
    application = create_app(wiring.wire(config), config)
    # All of this stays for good. A full collection would walk through it again and again, 50 to 150 ms of a request's wait.
    gc.collect()
    gc.freeze()
    return application


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.began = time.monotonic()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if request.endpoint in OPEN_TO_ALL and request.method == "POST":
        # Nobody has shown who they are: what they may send is small, and its length known before it is read.
        request.max_content_length = SMALL_BODY_BYTES
        if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
            abort(411, "say how long the body is (Content-Length)")
    if "\0" in request.path:
        abort(404, "nothing has a NUL character in its address")


def _count(response: Response, seconds: float | None) -> None:
    """Count by the route's template: paths are the callers' own words."""
    route = request.url_rule.rule if request.url_rule is not None else "none"
    method = request.method if request.method in METHODS else metrics.OTHER
    metrics.REQUESTS.labels(method, route, response.status_code).inc()
    if seconds is not None and not response.is_streamed and route not in LONG_POLLS:
        metrics.REQUEST_SECONDS.labels(method, route).observe(seconds)


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    if response.mimetype in ("text/html", "application/json", errors.MEDIA_TYPE):
        given = {name.lower() for name, _ in response.headers}
        response.headers.extend([header for name, header in _NAMED.items() if name not in given])
    seconds = round(time.monotonic() - g.began, 4) if "began" in g else None
    _count(response, seconds)
    log.info("request.done", method=request.method, path=request.path, status=response.status_code, seconds=seconds)
    return response
