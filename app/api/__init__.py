"""REST API v1 (OpenAPI 3.1 at /api/v1/openapi.json): one module per resource, no rule of its own."""

from __future__ import annotations

import threading
from typing import Any

import flask_smorest  # type: ignore[import-untyped]
from flask import Flask, Response, json

from app.api import (
    accounts,
    addresses,
    allocation,
    changes,
    description,
    devices,
    dns_records,
    dns_secondaries,
    domains,
    events,
    fabrics,
    foreign_dhcp,
    health,
    images,
    interfaces,
    jobs,
    keys,
    leases,
    lifecycle,
    list_tags,
    machines,
    neighbours,
    operations,
    package_repositories,
    places,
    power,
    racks,
    ranges,
    reservations,
    results,
    rollouts,
    routes,
    session,
    settings,
    snippets,
    spaces,
    streams,
    subnets,
    syslog,
    tokens,
    users,
    vlans,
    waiting,
)
from app.api.frame import BASE
from app.api.schemas.problem import ProblemSchema

RESOURCES = (
    changes, jobs,
    accounts, addresses, allocation, devices, dns_records, dns_secondaries, domains, events, fabrics, foreign_dhcp, health, images,
    interfaces, keys, leases, lifecycle, machines, neighbours, operations, package_repositories, places, power, racks,
    ranges, reservations, results, rollouts, routes, session, settings, snippets, spaces, streams, subnets, syslog, tokens,
    users, vlans,
)  # fmt: skip
ABOUT = (
    "One control plane from which racks of servers are discovered, enlisted, deployed and released. "
    "Send an API token as `Authorization: Bearer`; a web session works too, and then needs `X-CSRF-Token` on changes. "
    "Refusals are RFC 9457 problems. `x-muster-role` is the least role that may call."
)


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest that describes itself when it is first asked to, as that takes longer than all else at a start.

    Without its own error answers: `app.api.errors` answers problems for the whole application.
    """

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def __init__(self, application: Flask) -> None:
        self._undescribed: list[flask_smorest.Blueprint] = []
        self._text: str | None = None
        self._describing = threading.Lock()
        super().__init__(application)

    def register_blueprint(self, blueprint: flask_smorest.Blueprint, **options: Any) -> None:
        """Have the application serve it; its views are described later."""
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blueprint.name] = self
        self._app.register_blueprint(blueprint, **options)
        self._undescribed.append(blueprint)

    def _openapi_json(self) -> Response:
        """The whole description, which does not change while a process lives."""
        with self._describing:
            if self._text is None:
                self._text = self._describe()
        return Response(self._text, mimetype="application/json")

    def _describe(self) -> str:
        for blueprint in self._undescribed:
            blueprint.register_views_in_doc(self, self._app, self.spec, name=blueprint.name, parameters=None)
            self.spec.tag({"name": blueprint.name, "description": blueprint.description})
        return json.dumps(description.complete(self.spec.to_dict()), indent=2)

    def _register_error_handlers(self) -> None:
        """Nothing: see the class."""


def mount(application: Flask) -> None:
    """Add every resource and the description. RuntimeError names a view that does not say who may call it."""
    application.config.update(
        API_TITLE="Muster",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX=BASE,
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={
            "info": {"description": ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}
        },
    )
    api = Api(application)
    api.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    api.spec.components.security_scheme("session", {"type": "apiKey", "in": "cookie", "name": "muster_session"})
    description.register_problems(api.spec)
    for resource in RESOURCES:
        api.register_blueprint(resource.blueprint)
    streams.attach(application)
    waiting.attach(application)
    list_tags.attach(application)
    check_callers(application)


def check_callers(application: Flask) -> None:
    """RuntimeError names a view below `/api/v1` that does not say who may call it."""
    for rule in application.url_map.iter_rules():
        view = application.view_functions[rule.endpoint]
        described = rule.endpoint.startswith("api-docs.")
        if rule.rule.startswith(f"{BASE}/") and not described and not hasattr(view, "muster_role"):
            raise RuntimeError(f"{rule.rule}: {rule.endpoint} does not say who may call it; use @allow or @public")
