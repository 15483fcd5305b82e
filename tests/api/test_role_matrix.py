"""Who may call which route: one table over the whole URL map. A new route fails here until it says who may call it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.config import load
from app.factory import create_app
from app.services import tokens as tokens_of
from app.services import users
from app.services.context import Context
from tests.api.conftest import sign_up
from tests.factories.control import RACK_TOKEN, Seeded, clock_of, make_context, make_machine, seed

PEOPLE = ("viewer", "operator", "admin")
SCOPED = {
    # A token of this user and scope may what this role may; a scope never adds anything to the user's role.
    "admin, scope operate": ("admin", "operate", "operator"),
    "operator, scope operate": ("operator", "operate", "operator"),
    "viewer, scope admin": ("viewer", "admin", "viewer"),
    "viewer, scope operate": ("viewer", "operate", "viewer"),
}
READERS = {"admin, scope read": "admin", "viewer, scope read": "viewer"}
ENDED = ("expired", "closed", "revoked")
CALLERS = ("nobody", *PEOPLE, "rack", "machine", *SCOPED, *READERS, *ENDED)
SAFE = ("GET",)
CRUD = {
    "dns-secondaries": "admin", "package-repositories": "admin",
    "domains": "admin", "fabrics": "admin", "pools": "admin", "zones": "admin", "ranges": "admin", "spaces": "admin",
    "subnets": "admin", "vlans": "admin", "tags": "operator", "routes": "admin", "reservations": "operator",
    "devices": "operator",
}  # fmt: skip
ROUTES = {
    "GET addresses": "viewer",
    "POST addresses": "operator",
    "GET addresses/*": "viewer",
    "DELETE addresses/*": "operator",
    "GET audit": "admin",
    "GET dhcp-options": "viewer",
    "GET dhcp-snippets": "admin",
    "POST dhcp-snippets": "admin",
    "GET dhcp-snippets/*": "admin",
    "PATCH dhcp-snippets/*": "admin",
    "DELETE dhcp-snippets/*": "admin",
    "GET dhcp-snippets/*/revisions": "admin",
    "POST dhcp-snippets/*/revert": "admin",
    "POST dhcp-snippets/check": "admin",
    "POST devices/*/interfaces": "operator",
    "PATCH devices/*/interfaces/*": "operator",
    "DELETE devices/*/interfaces/*": "operator",
    "GET interfaces": "viewer",
    "GET interfaces/*": "viewer",
    "PUT interfaces/*/links/*": "operator",
    "DELETE interfaces/*/links/*": "operator",
    "POST reservations/import": "operator",
    "GET subnets/*/renumber": "admin",
    "POST subnets/*/renumber": "admin",
    "GET subnets/*/statistics": "viewer",
    "GET subnets/*/free-ranges": "viewer",
    "GET subnets/*/reserved-ranges": "viewer",
    "GET subnets/*/addresses": "viewer",
    "GET subnets/*/stale-gateways": "viewer",
    "GET subnets/*/stale-routes": "viewer",
    "GET domains/*/records": "viewer",
    "POST domains/*/records": "operator",
    "POST domains/*/records/bulk": "operator",
    "GET domains/*/records/*": "viewer",
    "PATCH domains/*/records/*": "operator",
    "DELETE domains/*/records/*": "operator",
    "GET domains/*/servers": "viewer",
    "GET domains/*/stale-names": "viewer",
    "POST dns-secondaries/*/new-key": "admin",
    "GET events": "viewer",
    "GET events/stream": "viewer",
    "POST fabrics/*/merge": "admin",
    "GET leases": "viewer",
    "DELETE leases/*": "operator",
    "GET neighbours": "viewer",
    "GET foreign-dhcp-servers": "viewer",
    "GET health/live": "public",
    "GET health/ready": "public",
    "GET images": "viewer",
    "GET images/*": "viewer",
    "GET changes/*": "viewer",
    "GET jobs": "viewer",
    "GET jobs/*": "viewer",
    "POST jobs/*/cancel": "operator",
    "POST machines/bulk": "operator",
    "POST reservations/bulk": "operator",
    "POST images/import": "admin",
    "GET keys": "viewer",
    "GET keys/*": "viewer",
    "POST keys": "viewer",
    "DELETE keys/*": "viewer",
    "POST login": "public",
    "GET machines": "viewer",
    "POST machines": "operator",
    "GET machines/*": "viewer",
    "PATCH machines/*": "operator",
    "DELETE machines/*": "admin",
    "POST machines/*/abort": "operator",
    "POST machines/*/allocate": "operator",
    "POST machines/*/commission": "operator",
    "POST machines/*/deploy": "operator",
    "POST machines/*/mark-broken": "operator",
    "POST machines/*/mark-fixed": "operator",
    "POST machines/*/release": "operator",
    "GET machines/*/events": "viewer",
    "GET machines/*/events/stream": "viewer",
    "GET machines/*/syslog": "viewer",
    "GET syslog": "viewer",
    "GET machines/*/operations": "viewer",
    "GET machines/*/power": "operator",
    "PUT machines/*/power": "operator",
    "POST machines/*/power/*": "operator",
    "GET machines/*/results": "viewer",
    "GET machines/*/results/*": "viewer",
    "POST machines/allocate": "operator",
    "GET openapi.json": "public",
    "GET operations": "viewer",
    "GET operations/*": "viewer",
    "GET plans/*": "viewer",
    "POST plans/*/approve": "admin",
    "GET power-drivers": "viewer",
    "GET power-orders": "viewer",
    "GET power-orders/*": "viewer",
    "GET racks": "viewer",
    "GET racks/*": "viewer",
    "DELETE racks/*": "admin",
    "PATCH racks/*": "admin",
    "GET racks/*/plans": "viewer",
    "POST racks/*/new-omapi-key": "admin",
    "POST racks/*/new-broker-password": "admin",
    "GET broker/acl": "admin",
    "POST racks/*/reconcile": "operator",
    "POST racks/*/retry": "operator",
    "GET rollouts": "viewer",
    "GET rollouts/*": "viewer",
    "POST rollouts/*/continue": "operator",
    "POST racks/codes": "admin",
    "POST racks/reconcile": "operator",
    "POST session": "public",
    "GET session": "viewer",
    "DELETE session": "viewer",
    "GET sessions": "viewer",
    "DELETE sessions/*": "viewer",
    "GET settings": "viewer",
    "GET settings/*": "viewer",
    "PUT settings/*": "admin",
    "GET tokens": "viewer",
    "GET tokens/*": "viewer",
    "POST tokens": "viewer",
    "DELETE tokens/*": "viewer",
    "GET users": "admin",
    "POST users": "admin",
    "GET users/*": "admin",  # of others; everybody sees oneself
    "PATCH users/*": "admin",
    "DELETE users/*": "admin",
    "PUT users/*/password": "viewer",
    "POST vlans/*/merge": "admin",
}
for _name, _role in CRUD.items():
    ROUTES |= {f"GET {_name}": "viewer", f"GET {_name}/*": "viewer", f"POST {_name}": _role}
    ROUTES |= {f"PATCH {_name}/*": _role, f"DELETE {_name}/*": _role}
TABLE = {f"{route.split()[0]} /api/v1/{route.split()[1]}": role for route, role in ROUTES.items()} | {
    "GET /boot/v1/script": "relay",
    "GET /boot/v1/start.ipxe": "relay",
    "GET /images/*/*": "relay",
    "GET /images/loader/*": "relay",
    "GET /machine/v1/agent": "relay",
    "GET /machine/v1/task": "relay",
    "POST /machine/v1/enlist": "relay",
    "POST /machine/v1/phone-home": "relay",
    "POST /machine/v1/results": "relay",
    "POST /machine/v1/status": "relay",
    "POST /rack/v1/enrol": "code",
    "GET /rack/v1/broker": "rack",
    "GET /rack/v1/offer": "rack",
    "GET /rack/v1/power/operations": "rack",
    "POST /rack/v1/power/operations/*/claim": "rack",
    "POST /rack/v1/power/operations/*/result": "rack",
    "GET /rack/v1/questions": "rack",
    "POST /rack/v1/questions/*/claim": "rack",
    "POST /rack/v1/questions/*/answer": "rack",
    "GET /rack/v1/records": "rack",
    "POST /rack/v1/records/compare": "rack",
    "POST /rack/v1/records/snapshot": "rack",
    "POST /rack/v1/reports/apply": "rack",
    "POST /rack/v1/reports/leases": "rack",
    "POST /rack/v1/reports/neighbours": "rack",
    "POST /rack/v1/reports/foreign-dhcp": "rack",
    "POST /rack/v1/reports/drift": "rack",
    "POST /rack/v1/reports/observation": "rack",
    "POST /rack/v1/reports/records": "rack",
    "POST /rack/v1/reports/syslog": "rack",
    "POST /rack/v1/reports/zones": "rack",
    "GET /rack/v1/secrets/*": "rack",
    "GET /rack/v1/wait": "rack",
    "GET /healthz": "public",
    "GET /metrics": "public",  # from loopback, as here; from elsewhere viewers: test_watching
    "GET /readyz": "ready",
    "GET /login": "public",
    "POST /login": "public",
    "GET /static/*": "public",
    "POST /logout": "leave",
    "GET /machines": "page",
    "GET /machines/*": "page",
    "GET /machines/acted": "page",
    "GET /jobs/*": "page",
    "POST /jobs/*/cancel": "page",
    "POST /subnets/*/renumber/preview": "page",
    "GET /machines/*/live": "page",
    "GET /machines/*/syslog": "page",
    "POST /machines/*/ask/*": "page",
    "POST /machines/*/power/*": "page",
    "GET /racks": "page",
    "GET /racks/*": "page",
    "POST /racks/*/plans/*": "page",
    "POST /racks/*/canary": "page",
    "POST /racks/*/rollouts/*": "page",
    "POST /racks/*/reconcile": "page",
    "POST /racks/*/retry": "page",
    "POST /rollouts/*/continue": "page",
    "POST /snippets/check": "page",
    "POST /snippets/*/check": "page",
    "POST /snippets/*/revert": "page",
    "POST /snippets/*/switch": "page",
}
PAGES = (
    "/",
    "/devices",
    "/devices/*",
    "/domains",
    "/domains/*",
    "/snippets",
    "/snippets/*",
    "/networks",
    "/subnets/*",
    "/events",
    "/syslog",
    "/jobs",
    "/rollouts",
    "/rollouts/*",
    "/audit",
    "/users",
    "/account",
    "/settings",
)
FORMS = (
    "/account/keys/*/delete", "/account/keys/new", "/account/password", "/account/tokens/*/delete",
    "/account/tokens/new", "/devices/*/delete", "/devices/*/edit", "/devices/new",
    "/domains/*/delete", "/domains/*/edit", "/domains/*/records/*/delete",
    "/domains/*/records/*/edit", "/domains/*/records/new", "/domains/new", "/domains/secondaries/*/delete",
    "/domains/secondaries/*/edit", "/domains/secondaries/*/key", "/domains/secondaries/new",
    "/fabrics/*/delete", "/fabrics/*/edit", "/fabrics/new", "/machines/*/bmc",
    "/machines/*/delete", "/machines/*/edit", "/machines/act", "/machines/new", "/places/*/*/delete",
    "/places/*/*/edit", "/places/*/new", "/racks/*/delete", "/racks/new", "/ranges/*/delete", "/ranges/*/edit",
    "/reservations/*/delete", "/reservations/*/edit", "/routes/*/delete", "/routes/*/edit", "/spaces/*/delete",
    "/snippets/*/delete", "/snippets/*/edit", "/snippets/new", "/spaces/*/edit", "/spaces/new",
    "/subnets/*/reservations/new", "/subnets/*/routes/new",
    "/settings/*", "/settings/images/new", "/subnets/*/addresses/*/delete", "/subnets/*/delete", "/subnets/*/edit",
    "/subnets/*/ranges/new", "/subnets/*/renumber",
    "/subnets/*/reserve", "/subnets/new", "/users/*/delete", "/users/*/edit",
    "/users/*/password", "/users/new", "/vlans/*/delete", "/vlans/*/edit", "/vlans/new",
)  # fmt: skip
TABLE |= {f"GET {path}": "page" for path in PAGES}
TABLE |= {f"{method} {path}": "page" for path in FORMS for method in ("GET", "POST")}


# So that a stream answers at once that it is refused or begins, and a rack does not wait.
QUERIES = {
    "/api/v1/events/stream": "?after=999",
    "/api/v1/machines/*/events/stream": "?after=999",
    "/rack/v1/wait": "?seconds=0",
    "/rack/v1/records": "?after=999",
}


@dataclass
class Callers:
    """One client and the token of everybody."""

    client: FlaskClient
    tokens: dict[str, str | None]

    def status(self, caller: str, route: str) -> int:
        """The status that a caller gets for a route with things in it that do not exist."""
        method, pattern = route.split()
        token = self.tokens[caller]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        path = pattern.replace("/power/*", "/power/query") if "/api/" in pattern else pattern
        query = QUERIES.get(pattern, "") if method == "GET" else ""
        body: dict[str, Any] = {"json": {}} if method != "GET" else {}
        answer = self.client.open(path.replace("*", "999") + query, method=method, headers=headers, **body)
        answer.close()
        return answer.status_code


def routes(application: Flask) -> set[str]:
    """All routes as the table writes them."""
    found = set()
    for rule in application.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found.add(
                f"{method} {re.sub(r'<[^/]*>', '*', rule.rule.replace('<any(on,off,cycle,query,soft_off):verb>', '*'))}"
            )
    return found


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    """Everybody, over one control plane."""
    folder: Path = tmp_path_factory.mktemp("matrix")
    context: Context = make_context(folder)
    seeded: Seeded = seed(context, image_folder=folder)
    make_machine(context, seeded)
    application = create_app(context, load({"MUSTER_STATE_DIR": str(folder / "state")}))
    relayed = {"X-Muster-Rack": seeded.relay_header, "X-Forwarded-For": "10.20.0.100"}
    script = application.test_client().get("/boot/v1/script?mac=52:54:00:aa:bb:cc", headers=relayed).text
    boot_token = re.search(r"muster\.token=(\S+)", script)
    assert boot_token is not None
    tokens: dict[str, str | None] = {role: sign_up(context, application, f"the-{role}", role).token for role in PEOPLE}
    tokens |= {"nobody": None, "rack": RACK_TOKEN, "machine": boot_token.group(1)}
    tokens |= {name: make_token(context, role, scope) for name, (role, scope, _) in SCOPED.items()}
    tokens |= {name: make_token(context, role, "read") for name, role in READERS.items()}
    tokens |= ended_tokens(context, application)
    return Callers(application.test_client(), tokens)


def make_token(context: Context, role: str, scope: str, days: int | None = None) -> str:
    """A token of that scope for the user of that role."""
    actor = users.actor(users.by_name(context, f"the-{role}"))
    return tokens_of.create(context.acting_as(actor), "scoped", days, scope).text


def ended_tokens(context: Context, application: Flask) -> dict[str, str | None]:
    """Tokens of administrators that are worth nothing any more."""
    closed = sign_up(context, application, "the-closed", "admin").token
    users.update(context, users.by_name(context, "the-closed").id, active=False)
    revoked = tokens_of.create(context.acting_as(users.actor(users.by_name(context, "the-admin"))), "revoked")
    tokens_of.delete(context, revoked.row.id)
    expired = make_token(context, "admin", "admin", days=1)
    clock_of(context).move(24 * 3600 + 1)
    return {"closed": closed, "revoked": revoked.text, "expired": expired}


def test_every_route_says_who_may_call(callers: Callers) -> None:
    """The table and the URL map name the same routes."""
    assert sorted(TABLE) == sorted(routes(callers.client.application))


@pytest.mark.parametrize("caller", CALLERS)
def test_the_matrix(callers: Callers, caller: str) -> None:
    """Each caller gets in where the table says so, and nowhere else."""
    wrong = {}
    for route, role in TABLE.items():
        status = callers.status(caller, route)
        if caller in READERS:
            right = _right_to_read(READERS[caller], route, role, status)
        else:
            right = _right("nobody" if caller in ENDED else SCOPED.get(caller, (caller,))[-1], role, status)
        if not right:
            wrong[route] = (role, status)

    assert {} == wrong


def _right_to_read(user: str, route: str, role: str, status: int) -> bool:
    """What changes something is refused to a token of scope read; what reads goes no further than a viewer."""
    if role in (*PEOPLE, "page", "leave") and route.split()[0] not in SAFE:
        return status == 403
    return _right("viewer", role, status)


def _right(caller: str, role: str, status: int) -> bool:
    if role == "ready":  # Open, and honest about tables that no migration has made.
        return status == 503
    if status >= 500:
        return False
    if role in PEOPLE:
        if caller not in PEOPLE:
            return status == 401
        return (status == 403) is (PEOPLE.index(caller) < PEOPLE.index(role))
    match role:
        case "relay":
            return status == 403
        case "code":
            return status in (401, 422)
        case "rack":
            return status == 401 if caller != "rack" else status not in (401, 403)
        case "page":
            # A bearer token counts for pages too; strangers are sent to the sign-in page.
            return status == 302 if caller not in PEOPLE else status not in (302, 401)
        case "leave":
            return status == 302
    return role == "public"


def test_passwords_of_others_are_the_administrators(callers: Callers) -> None:
    """Nobody else sets them."""
    for caller, status in (("viewer", 403), ("operator", 403), ("admin", 404)):
        headers = {"Authorization": f"Bearer {callers.tokens[caller]}"}
        body = {"password": "long enough to do"}
        answer = callers.client.put("/api/v1/users/999/password", json=body, headers=headers)

        assert status == answer.status_code


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "tokens"), ("PUT", "settings/ntp_upstreams"), ("POST", "racks/codes")]
)
def test_sessions_need_their_csrf_token(callers: Callers, method: str, path: str) -> None:
    """A change through a session without its CSRF token is refused, however great the role; with it, it is not."""
    client = callers.client.application.test_client()
    credentials = {"name": "the-admin", "password": "the-admin-password"}
    csrf = client.post("/api/v1/session", json=credentials).get_json()["csrf_token"]
    bodies = {"tokens": {"name": "x"}, "settings/ntp_upstreams": {"value": {"servers": []}}, "racks/codes": {}}

    assert 403 == client.open(f"/api/v1/{path}", method=method, json=bodies[path]).status_code
    headers = {"X-CSRF-Token": "another"}
    assert 403 == client.open(f"/api/v1/{path}", method=method, json=bodies[path], headers=headers).status_code
    headers = {"X-CSRF-Token": csrf}
    assert client.open(f"/api/v1/{path}", method=method, json=bodies[path], headers=headers).status_code < 300
