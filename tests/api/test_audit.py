"""Every change through the API leaves an audit row: who, what, which thing, in which request; and no secret in it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.lifecycle.table import actions
from app.services import rack_questions, reports
from app.services.addressing import address_key
from app.services.context import Context
from app.store.models import ChangeEvent, Lease, Machine, Plan, Rack, Rollout
from lab.tiny_image import make_tiny_image
from tests.api.conftest import Caller
from tests.api.test_accounts import a_public_key
from tests.factories.control import Seeded, make_machine

SECRETS = ("planted-password", "planted-bmc", "planted-user-data")
WITHOUT = {
    "POST /dhcp-snippets/check": "asks checkers; nothing is saved",
    "POST /session": "begins a session; nothing that is desired changes",
    "DELETE /session": "ends a session",
}


@dataclass
class Walk:
    """Calls everything; `seen` are the operations, `rows` what the audit has of each."""

    caller: Caller
    context: Context
    seen: dict[str, list[ChangeEvent]] = field(default_factory=dict)
    number: int = 0

    def __call__(self, operation: str, *words: Any, body: Any = None) -> Any:
        """One call; its answer. `words` go where the operation has stars."""
        self.number += 1
        method, path = operation.split()
        for word in words:
            path = path.replace("*", str(word), 1)
        request_id = f"walk-{self.number}"
        answer = self.caller(method, path, body if body is not None else {}, headers={"X-Request-Id": request_id})
        assert answer.status_code < 300, (operation, answer.text)
        with self.context.store.read() as session:
            rows = session.scalars(select(ChangeEvent).where(ChangeEvent.request_id == request_id)).all()
        self.seen.setdefault(operation, []).extend(rows)
        assert rows, f"{operation} leaves nothing in the audit"
        assert {"root"} == {row.actor for row in rows}, operation
        assert all(row.verb and row.thing for row in rows), operation
        return answer.get_json(silent=True)


@pytest.fixture
def walk(admin: Caller, context: Context) -> Walk:
    return Walk(admin, context)


def changing_operations(application: Flask) -> set[str]:
    """Everything of the OpenAPI document that is not a question."""
    paths = application.test_client().get("/api/v1/openapi.json").get_json()["paths"]
    return {
        f"{method.upper()} {re.sub(r'{[^}]*}', '*', path.removeprefix('/api/v1'))}"
        for path, methods in paths.items()
        for method in methods
        if method in ("post", "put", "patch", "delete")
    }


def places_and_people(walk: Walk) -> None:
    for word in ("zone", "pool", "tag"):
        made = walk(f"POST /{word}s", body={"name": f"a-{word}"})
        walk(f"PATCH /{word}s/*", made["id"], body={"note": "words"})
        walk(f"DELETE /{word}s/*", made["id"])
    user = walk("POST /users", body={"name": "peter", "password": "planted-password", "role": "operator"})
    walk("PATCH /users/*", user["id"], body={"role": "viewer"})
    walk("PUT /users/*/password", user["id"], body={"password": "planted-password 2"})
    walk("DELETE /users/*", user["id"])
    token = walk("POST /tokens", body={"name": "a token"})
    walk("DELETE /tokens/*", token["id"])
    key = walk("POST /keys", body={"public_key": f"{a_public_key()} me@desk"})
    walk("DELETE /keys/*", key["id"])
    browser = walk.caller.client.application.test_client()
    browser.post("/api/v1/session", json={"name": "root", "password": "root-password"})
    walk("DELETE /sessions/*", walk.caller.get("/sessions").get_json()["items"][0]["id"])
    walk("PUT /settings/*", "retention", body={"value": {"event_days": 10}})


def network(walk: Walk, seeded: Seeded) -> None:
    fabric = walk("POST /fabrics", body={"name": "fabric-9"})
    walk("PATCH /fabrics/*", fabric["id"], body={"name": "fabric-8"})
    vlan = walk("POST /vlans", body={"fabric_id": fabric["id"], "vid": 9, "name": "nine"})
    walk("PATCH /vlans/*", vlan["id"], body={"name": "ten"})
    space = walk("POST /spaces", body={"name": "outside"})
    walk("PATCH /spaces/*", space["id"], body={"name": "inside"})
    walk("DELETE /spaces/*", space["id"])
    spare = walk("POST /vlans", body={"fabric_id": fabric["id"], "vid": 8})
    walk("POST /vlans/*/merge", spare["id"], body={"into_id": vlan["id"]})
    other = walk("POST /fabrics", body={})
    walk("POST /fabrics/*/merge", other["id"], body={"into_id": fabric["id"]})
    domain = walk("POST /domains", body={"name": "other.muster"})
    walk("PATCH /domains/*", domain["id"], body={"ttl_seconds": 77})
    names(walk, domain["id"])
    subnet = {"cidr": "10.99.0.0/24", "vlan_id": vlan["id"], "domain_id": domain["id"], "name": "ninety-nine"}
    made = walk("POST /subnets", body=subnet)
    walk("PATCH /subnets/*", made["id"], body={"lease_seconds": 999})
    wanted = {"subnet_id": made["id"], "kind": "reserved", "start": "10.99.0.5", "end": "10.99.0.9"}
    reserved = walk("POST /ranges", body=wanted)
    walk("PATCH /ranges/*", reserved["id"], body={"comment": "for switches"})
    walk("DELETE /ranges/*", reserved["id"])
    snippet = {"name": "time", "kind": "option", "scope": "global", "body": "tcode planted-user-data", "force": True}
    snippet = walk("POST /dhcp-snippets", body=snippet)
    walk("PATCH /dhcp-snippets/*", snippet["id"], body={"enabled": False})
    walk("POST /dhcp-snippets/*/revert", snippet["id"], body={"revision": 1, "force": True})
    walk("DELETE /dhcp-snippets/*", snippet["id"])
    address = walk("POST /addresses", body={"subnet_id": made["id"], "address": "10.99.0.77"})
    walk("DELETE /addresses/*", address["id"])
    addressing(walk, made["id"], seeded.subnet_id)
    walk("DELETE /subnets/*", made["id"])
    kept = walk("POST /vlans", body={"fabric_id": seeded.fabric_id, "vid": 77})
    moving = walk("POST /subnets", body={"cidr": "10.98.0.0/24", "vlan_id": kept["id"], "domain_id": domain["id"]})
    walk("POST /subnets/*/renumber", moving["id"], body={"cidr": "10.97.0.0/24"})
    walk("DELETE /domains/*", walk("POST /domains", body={"name": "gone.muster"})["id"])
    walk("DELETE /vlans/*", vlan["id"])
    walk("DELETE /fabrics/*", fabric["id"])


def packages(walk: Walk) -> None:
    extra = {"name": "extra", "url": "http://192.0.2.80/debian", "suites": ["stable"], "components": ["main"]}
    made = walk("POST /package-repositories", body=extra)
    walk("PATCH /package-repositories/*", made["id"], body={"enabled": False})
    walk("DELETE /package-repositories/*", made["id"])


def names(walk: Walk, domain_id: int) -> None:
    record = walk("POST /domains/*/records", domain_id, body={"name": "www", "type": "A", "data": "192.0.2.1"})
    walk("PATCH /domains/*/records/*", domain_id, record["id"], body={"data": "192.0.2.2"})
    more = {"name": "more", "type": "TXT", "data": "words"}
    walk("POST /domains/*/records/bulk", domain_id, body={"add": [more], "delete": []})
    walk("DELETE /domains/*/records/*", domain_id, record["id"])
    outside = walk("POST /dns-secondaries", body={"name": "outside", "address": "192.0.2.53"})
    walk("PATCH /dns-secondaries/*", outside["id"], body={"port": 5353})
    walk("POST /dns-secondaries/*/new-key", outside["id"])
    walk("DELETE /dns-secondaries/*", outside["id"])


def addressing(walk: Walk, subnet_id: int, other_id: int) -> None:
    promise = walk("POST /reservations", body={"address": "10.99.0.20", "mac": "52:54:00:99:01:01"})
    walk("PATCH /reservations/*", promise["id"], body={"address": "10.99.0.21"})
    walk("DELETE /reservations/*", promise["id"])
    route = {"source_id": subnet_id, "destination_id": other_id, "gateway": "10.99.0.30"}
    route = walk("POST /routes", body=route)
    walk("PATCH /routes/*", route["id"], body={"metric": 9})
    walk("DELETE /routes/*", route["id"])
    walk("POST /devices", body={"hostname": "switch-9"})
    walk("PATCH /devices/*", "switch-9", body={"description": "by the door"})
    device = walk("POST /devices/*/interfaces", "switch-9", body={"mac": "52:54:00:99:01:02"})
    interface_id = device["interfaces"][0]["id"]
    walk("PATCH /devices/*/interfaces/*", "switch-9", interface_id, body={"name": "mgmt"})
    walk("PUT /interfaces/*/links/*", interface_id, subnet_id, body={"mode": "auto"})
    walk("DELETE /interfaces/*/links/*", interface_id, subnet_id)
    walk("DELETE /devices/*/interfaces/*", "switch-9", interface_id)
    walk("DELETE /devices/*", "switch-9")
    many = [{"address": "10.20.0.46", "mac": "52:54:00:99:01:03"}]
    walk("POST /reservations/import", body={"reservations": many})


def machines(walk: Walk, seeded: Seeded) -> None:
    made = walk("POST /machines", body={"macs": ["52:54:00:99:00:01"], "hostname": "by-hand"})
    walk("PATCH /machines/*", made["id"], body={"hostname": "renamed"})
    power = {"address": "10.20.1.1", "username": "u", "password": "planted-bmc"}
    walk("PUT /machines/*/power", made["id"], body={"driver": "ipmi", "parameters": power})
    walk("POST /machines/*/power/*", made["id"], "query")
    walk("DELETE /machines/*", made["id"])
    walk("POST /machines/allocate", body={"name": "to-draw"})
    many = [{"hostname": "one-of-many", "interfaces": [{"mac": "52:54:00:99:00:02"}]}]
    job = walk("POST /machines/bulk", body={"machines": many})
    walk("POST /jobs/*/cancel", job["id"])
    walk("POST /reservations/bulk", body={"reservations": [{"address": "10.20.0.44", "mac": "52:54:00:99:00:03"}]})
    for action in actions().values():
        machine_id = make_machine(walk.context, seeded, inventory={"cpu": {}})
        with walk.context.store.write() as session:
            session.get_one(Machine, machine_id).state = sorted(action.from_states)[0].value
        body = {"user_data": "#cloud-config\n# planted-user-data\n"} if action.name == "deploy" else {}
        operation = walk(f"POST /machines/*/{action.name}", machine_id, body=body)
        if operation["status"] == "running":
            walk("POST /machines/*/abort", machine_id)


def racks(walk: Walk, seeded: Seeded, folder: Path) -> None:
    walk("POST /images/import", body={"path": str(make_tiny_image(folder / "image"))})
    walk("POST /racks/codes", body={"name": "new"})
    apply = {"offer": 0, "service": "bind", "outcome": "undone", "stage": "probe", "reason": "no answer"}
    reports.apply(walk.context, seeded.rack_id, **apply)
    walk("POST /racks/*/retry", seeded.rack_id)
    walk("POST /racks/reconcile")
    walk("POST /racks/*/reconcile", seeded.rack_id)
    with walk.context.store.write() as session:
        plan = Plan(
            rack_id=seeded.rack_id, generation=1, status="held", danger_hash="d", created_at=walk.context.clock()
        )
        session.add(plan)
    walk("POST /plans/*/approve", plan.id)
    with walk.context.store.write() as session:
        halted = Rollout(status="halted", cause="change", actor="root", stopped_rack_id=seeded.rack_id)
        session.add(halted)
    walk("POST /rollouts/*/continue", halted.id)
    walk("PATCH /racks/*", seeded.rack_id, body={"dhcp_server": "dhcpd"})
    questions(walk, seeded)
    walk("PATCH /vlans/*", seeded.vlan_id, body={"dhcp_on": False})
    walk("DELETE /racks/*", seeded.rack_id)


def questions(walk: Walk, seeded: Seeded) -> None:
    """What a rack is asked to do at once, and does."""
    with walk.context.store.write() as session:
        now = walk.context.clock()
        session.get_one(Rack, seeded.rack_id).seen_at = now
        held = {"address": "10.20.0.100", "address_key": address_key("10.20.0.100"), "mac": "52:54:00:99:02:01"}
        lease = Lease(
            rack_id=seeded.rack_id,
            subnet_id=seeded.subnet_id,
            started_at=now,
            expires_at=now.replace(year=2100),
            **held,
        )
        session.add(lease)
    with answering(walk.context, seeded.rack_id):
        walk("DELETE /leases/*", lease.id)
        walk("POST /racks/*/new-omapi-key", seeded.rack_id)
    walk("POST /racks/*/new-broker-password", seeded.rack_id)


@contextlib.contextmanager
def answering(context: Context, rack_id: int) -> Iterator[None]:
    """A rack that does what it is asked."""
    stop = threading.Event()

    def turn() -> None:
        while not stop.wait(0.02):
            for item in rack_questions.waiting(context, rack_id):
                rack_questions.claim(context, rack_id, item["id"])
                rack_questions.answer(context, rack_id, item["id"], {"ended": True}, None)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_every_change_is_in_the_audit(
    walk: Walk, context: Context, seeded: Seeded, application: Flask, tmp_path: Path
) -> None:
    """Each changing operation of the API is called, and found with its actor, verb, thing and request."""
    make_machine(context, seeded, "to-draw")
    places_and_people(walk)
    network(walk, seeded)
    packages(walk)
    machines(walk, seeded)
    racks(walk, seeded, tmp_path)
    login = application.test_client().post(
        "/api/v1/login",
        json={"name": "root", "password": "root-password"},
        headers={"X-Request-Id": "the-login"},
    )
    with context.store.read() as session:
        (row,) = session.scalars(select(ChangeEvent).where(ChangeEvent.request_id == "the-login"))
        whole = json.dumps([[one.verb, one.thing, one.detail] for one in session.scalars(select(ChangeEvent))])

    assert 201 == login.status_code
    assert ("root", "create", "token") == (row.actor, row.verb, row.thing)
    assert sorted({*walk.seen, *WITHOUT, "POST /login"}) == sorted(changing_operations(application))
    assert not [secret for secret in SECRETS if secret in whole]


def test_a_refused_change_leaves_no_row(admin: Caller, viewer: Caller, context: Context, seeded: Seeded) -> None:
    """What did not happen is not in the audit."""
    for caller, body, status in ((viewer, {"name": "x"}, 403), (admin, {"name": "!"}, 422)):
        answer = caller("POST", "/zones", body, headers={"X-Request-Id": "refused"})
        assert status == answer.status_code, answer.text
    with context.store.read() as session:
        assert [] == list(session.scalars(select(ChangeEvent).where(ChangeEvent.request_id == "refused")))


@pytest.mark.parametrize("given", ["", "has space", "x" * 65, "new\nline", "quote'", "<script>", "ümlaut"])
def test_a_strange_request_id_is_replaced(admin: Caller, given: str) -> None:
    """What could forge a line of the log is not written there; the answer says what the request is known by."""
    headers = {"X-Request-Id": given} if "\n" not in given else {"X-Request-Id": given.replace("\n", "\\n")}
    known = admin.get("/session", headers=headers).headers["X-Request-Id"]

    assert known != given
    assert re.fullmatch(r"[0-9a-f]{32}", known)
