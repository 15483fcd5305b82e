"""What holds for every route of the API: who may call, the shape of refusals, limits, headers, the description."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator
from werkzeug.routing import Map, Rule

from app.api import check_callers
from app.api.frame import BASE
from app.lifecycle.table import actions
from app.services.context import ROLES, Context
from tests.api.conftest import Caller

OPEN = {
    ("GET", "/api/v1/openapi.json"),
    ("POST", "/api/v1/login"),
    ("POST", "/api/v1/session"),
    ("GET", "/api/v1/health/live"),
    ("GET", "/api/v1/health/ready"),
}
VALUES = {"int": "1", "string": "m-1", "path": "x", "any": "on"}


def routes(application: Flask, prefix: str = "/api/v1") -> list[tuple[str, str, str]]:
    """Method, path with values filled in, endpoint; of every route below the prefix."""
    found = []
    for rule in application.url_map.iter_rules():
        if not rule.rule.startswith(prefix):
            continue
        path = re.sub(r"<(?:(\w+)[^:>]*:)?\w+>", lambda match: VALUES[match[1] or "string"], rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            found.append((method, path, rule.endpoint))
    return found


def test_every_route_needs_a_caller(application: Flask) -> None:
    """Without credentials every route answers 401, except the few that are listed as open."""
    client = application.test_client()
    answered = {(method, path): client.open(path, method=method).status_code for method, path, _ in routes(application)}
    wrong = {route: status for route, status in answered.items() if route not in OPEN and status != 401}

    assert {} == wrong
    assert len(answered) > 60
    assert answered.keys() >= OPEN


def test_other_edges_ask_too(application: Flask) -> None:
    """Outside the API nothing answers a stranger: racks get 401, machines without a rack 403, pages lead to sign-in."""
    open_paths = (
        "/login",
        "/static/",
        "/rack/v1/enrol",
        "/healthz",
        "/readyz",
        "/metrics",
    )  # these three: test_watching
    client = application.test_client()
    wrong = {}
    for method, path, _ in routes(application, "/"):
        if path.startswith(("/api/v1", *open_paths)):
            continue
        answer = client.open(path, method=method)
        to_login = answer.status_code in (302, 303) and (path == "/" or "/login" in answer.headers["Location"])
        if answer.status_code not in (401, 403) and not to_login:
            wrong[method, path] = answer.status_code

    assert {} == wrong
    assert 422 == client.post("/rack/v1/enrol").status_code


def test_open_routes_are_open(application: Flask) -> None:
    """The routes listed as open do not ask who is calling."""
    client = application.test_client()

    assert all(client.open(path, method=method).status_code != 401 for method, path in OPEN)


def test_every_route_says_who_may_call(application: Flask) -> None:
    """Each view declares a role or that it is public, and the description shows it."""
    spec = application.test_client().get("/api/v1/openapi.json").get_json()
    shown = {
        (method.upper(), path): operation["x-muster-role"]
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        if method in ("get", "post", "put", "patch", "delete")
    }

    assert {*ROLES, "public"} == set(shown.values())
    assert len(routes(application)) - 1 == len(shown)  # All but the description itself.
    assert "operator" == shown["POST", "/api/v1/machines/{machine}/deploy"]


def test_description_is_valid_openapi(application: Flask) -> None:
    """The description is valid OpenAPI 3.1 with an operation for every lifecycle verb and its parameters."""
    spec = application.test_client().get("/api/v1/openapi.json").get_json()
    OpenAPIV31SpecValidator(spec).validate()

    assert spec["openapi"].startswith("3.1")
    for action in actions().values():
        operation = spec["paths"][f"/api/v1/machines/{{machine}}/{action.name}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        named = spec["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]

        assert {parameter.name for parameter in action.parameters} == set(named.get("properties", {}))


def test_refusals_are_problems(viewer: Caller, nobody: Caller, operator: Caller) -> None:
    """Refusals of services, of the schema, of routing and of identity are all RFC 9457 problems with a request id."""
    cases = [
        (404, viewer.get("/machines/none"), None),
        (422, viewer.get("/machines?limit=9999"), "limit"),
        (404, viewer.get("/no-such-thing"), None),
        (405, viewer("DELETE", "/machines"), None),
        (401, nobody.get("/machines"), None),
        (403, viewer.post("/machines", {"macs": ["52:54:00:00:00:09"]}), None),
        (400, operator.post("/machines", data="{not json", headers={"Content-Type": "application/json"}), None),
    ]
    for status, answer, field in cases:
        body: dict[str, Any] = answer.get_json(force=True)

        assert (status, "application/problem+json") == (answer.status_code, answer.mimetype)
        assert status == body["status"]
        assert body["detail"]
        assert body["title"]
        assert answer.headers["X-Request-Id"] == body["request_id"]
        assert field is None or field == body["field"]
    assert cases[4][1].headers["WWW-Authenticate"].startswith("Bearer")


def test_inside_is_not_shown(application: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is answered with a request id and nothing of the inside, and logged with both."""
    application.add_url_rule("/broken", view_func=lambda: {}["the inside"])
    answer = application.test_client().get("/broken", headers={"X-Request-Id": "find-me"})

    assert 500 == answer.status_code
    assert "find-me" == answer.get_json(force=True)["request_id"]
    assert "the inside" not in answer.text
    logged = capsys.readouterr()
    assert "find-me" in logged.out + logged.err
    assert "the inside" in logged.out + logged.err


def test_bodies_are_bounded(operator: Caller) -> None:
    """A body above 1 MiB is refused with 413."""
    answer = operator.post("/keys", {"public_key": "x" * (1024 * 1024 + 1)})

    assert 413 == answer.status_code
    assert "1048576" in answer.get_json(force=True)["detail"]


def test_answers_carry_security_headers(viewer: Caller) -> None:
    """Answers are not to be sniffed, framed or kept."""
    headers = viewer.get("/machines").headers

    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "DENY" == headers["X-Frame-Options"]
    assert "no-store" == headers["Cache-Control"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_health(nobody: Caller, context: Context) -> None:
    """Live while the process answers; ready only while the database does."""
    assert {"status": "live"} == nobody.get("/health/live").get_json()
    assert {"status": "ready"} == nobody.get("/health/ready").get_json()
    with context.store.write() as session:
        session.connection().exec_driver_sql("DROP TABLE counter")

    assert 503 == nobody.get("/health/ready").status_code


def test_a_view_that_does_not_say_who_may_call_it_stops_the_start() -> None:
    """Forgetting to say it cannot open an address to everybody."""
    application = Flask("forgetful")
    application.add_url_rule(f"{BASE}/forgotten", "forgotten", lambda: "for all")

    with pytest.raises(RuntimeError, match=r"/api/v1/forgotten: forgotten does not say who may call it"):
        check_callers(application)


def test_routes_build_the_addresses_that_werkzeugs_own_build(application: Flask) -> None:
    """Words with spaces, numbers, more words than a route has: each address is the same."""
    words = {"UnicodeConverter": "x y/é", "PathConverter": "a b/c", "AnyConverter": "on", "IntegerConverter": 7}
    found = list(application.url_map.iter_rules())
    for route in found:
        plain = Rule(route.rule, defaults=route.defaults, methods=route.methods, endpoint=route.endpoint)
        Map([plain], strict_slashes=False)
        values = {name: words[type(converter).__name__] for name, converter in route._converters.items()}
        for more in ({}, {"rule": "q&1", "more": "é"}):
            for unknown in (True, False):
                assert plain.build(values | more, unknown) == route.build(values | more, unknown), route.rule

    assert len(found) > 300
