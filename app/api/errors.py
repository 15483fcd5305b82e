"""Refusals as RFC 9457 problems: type, title, status, detail, and field, rule, remedy, request_id.

`problem(error)` is for edges that answer JSON.  An unexpected exception is logged whole with the request's id, and the
caller gets the id and nothing of the inside.
"""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, g, json, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge
from werkzeug.exceptions import NotFound as RoutingNotFound

from app.services.errors import UNREACHABLE, Invalid, ServiceError, TooMany, Unstorable, without_database

RETRY_AFTER_SECONDS = "2"
MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger(__name__)


def problem(status: int, title: str, detail: str, **members: Any) -> Response:
    """One problem. Members that are None are left out."""
    kind = "-".join(title.lower().split())
    body = {"type": f"urn:muster:problem:{kind}", "title": title, "status": status, "detail": detail}
    body |= {name: value for name, value in members.items() if value is not None}
    body["request_id"] = g.get("request_id")
    return Response(json.dumps(body), status=status, mimetype=MEDIA_TYPE)


def of_service(error: ServiceError) -> Response:
    """A service's refusal."""
    members = {"field": error.field, "rule": error.rule, "remedy": error.remedy}
    response = problem(error.status, error.title, error.detail, **members)
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(error.retry_seconds)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="muster"'
    if error.status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def of_http(error: HTTPException) -> Response:
    """What Flask, Werkzeug or the schema layer refused. Wrong fields are listed under `errors`, the first one named."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    status = error.code or 500
    detail = error.description or error.name
    members: dict[str, Any] = {}
    if isinstance(error, RequestEntityTooLarge):
        detail = f"the request body is larger than {request.max_content_length} bytes"
        members = {"rule": f"at most {request.max_content_length} bytes", "remedy": "send less at once"}
    elif isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(set(error.valid_methods or ()) - {"OPTIONS"}))
        detail = f"{request.method} is not for {request.path}"
        members = {"rule": f"one of {allowed}", "remedy": f"use {allowed}"}
    elif isinstance(error, RoutingNotFound):
        detail = f"there is nothing at {request.path}"
        members = {"remedy": "look for the address in /api/v1/openapi.json"}
    data = getattr(error, "data", None) or {}
    wrong = data.get("messages")
    field = None
    if isinstance(wrong, dict):
        field, detail = _first_wrong(wrong)
        members = {"rule": detail, "remedy": "correct it as the operation is described in /api/v1/openapi.json"}
    title = Invalid.title if status == Invalid.status else error.name
    response = problem(status, title, str(detail), field=field, errors=wrong, **members)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def of_anything(error: Exception) -> Response:
    """What nobody expected."""
    log.error("request.failed", path=request.path, method=request.method, exc_info=error)
    detail = "something went wrong inside; it has been logged under the request id"
    return problem(500, "Internal error", detail, remedy="give the request id to whoever runs this installation")


def of_lost_database(error: Exception) -> Response:
    """The database is away."""
    return of_service(without_database(error))


def of_unusable(error: Unstorable | RecursionError) -> Response:
    """Input that is shaped right and yet cannot be kept or walked."""
    if isinstance(error, RecursionError):
        return problem(422, "Invalid input", "the body is nested too deeply", remedy="send a flatter document")
    remedy = "leave out NUL and half surrogate characters, and use smaller numbers"
    return problem(422, "Invalid input", f"{error}", remedy=remedy)


def register(application: Flask) -> None:
    """Answer problems for every path of the application; pages may register their own handlers on their blueprint."""
    application.register_error_handler(ServiceError, of_service)
    application.register_error_handler(HTTPException, of_http)
    application.register_error_handler(Unstorable, of_unusable)
    application.register_error_handler(RecursionError, of_unusable)
    for kind in UNREACHABLE:
        application.register_error_handler(kind, of_lost_database)
    application.register_error_handler(Exception, of_anything)


def _first_wrong(wrong: dict[str, Any]) -> tuple[str | None, str]:
    """The first wrong field and a sentence; `wrong` is webargs' {location: {field: [sentence]}}."""
    for location, fields in wrong.items():
        path: list[str] = []
        inner = fields
        while isinstance(inner, dict) and inner:
            name, inner = next(iter(inner.items()))
            path.append(str(name))
        text = inner[0] if isinstance(inner, list) and inner else str(inner)
        if path and path != ["_schema"]:
            return ".".join(path), f"{'.'.join(path)} in the {location}: {text}"
        return None, f"the {location}: {text}"
    return None, "the request is not shaped as the API describes"
