"""The rack edge keeps its contract: who may call, what is answered, and what a report changes."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.services import addresses, offers, power, rack_overview, racks
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Unauthorized
from app.store.models import EnrolmentCode, IpAddress, Machine, Observation, PowerOperation, Rack, Vlan
from tests.factories.control import (
    RACK_TOKEN,
    RELAY_TOKEN,
    Seeded,
    clock_of,
    make_machine,
    ring_of,
    sha256,
)
from tests.rackapi.conftest import call
from workers.rack.offer import Envelope
from workers.region.reconcile import reconcile

INTERFACES = [
    {"name": "lo", "mac": "00:00:00:00:00:00", "addresses": ["127.0.0.1/8", "::1/128"]},
    {"name": "eth0", "mac": "02:00:00:00:00:0A", "addresses": ["10.20.0.9/24", "fe80::a/64", "172.31.0.1/16"]},
]
LAYOUT = {"root": "/srv/rack", "boot_files": "/usr/lib/ipxe"}


def enrol(application: Flask, good: str, name: str | None = "beta", **changes: Any) -> TestResponse:
    """Ask to be enrolled, with no token."""
    body = {
        "code": good,
        "name": name,
        "layout": LAYOUT,
        "ports": {"dns": 5353},
        "interfaces": INTERFACES,
        "version": "1",
    }
    return application.test_client().post("/rack/v1/enrol", json=body | changes, base_url="http://muster.example:5240")


def test_enrolment_gives_identity(application: Flask, context: Context, seeded: Seeded) -> None:
    """A code becomes a rack: tokens kept as hashes, interfaces attached where subnets are known, others noted."""
    answer = enrol(application, racks.new_code(context))
    data = answer.json
    assert data is not None
    rack = racks.authenticate(context, data["token"])
    with context.store.read() as session:
        rows = list(session.scalars(select(IpAddress).where(IpAddress.rack_id == rack.id)))
        stored = session.get_one(Rack, rack.id)
        served = session.get_one(Vlan, seeded.vlan_id).rack_id
    relay = racks.authenticate_relay(context, f"beta:{data['relay_token']}")

    assert answer.status_code == 201
    assert data["rack"] == {"id": rack.id, "name": "beta"}
    assert data["queue"] == "rack.beta"
    assert len(base64.b64decode(data["offer_public_key"])) == 32
    assert stored.token_hash == sha256(data["token"])
    assert data["token"] not in json.dumps([stored.token_hash, stored.relay_token_hash])
    assert (stored.control_plane_host, stored.control_plane_port) == ("muster.example", 5240)
    assert stored.ports["dns"] == 5353
    assert [(row.address, row.kind) for row in rows] == [("10.20.0.9", "rack")]
    assert served == seeded.rack_id
    assert relay.id == rack.id


def test_a_code_is_good_once(application: Flask, context: Context) -> None:
    """Of eight hosts with one code, one is enrolled; the others are told that the code is used."""
    code = racks.new_code(context)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: enrol(application, code, f"node-{number}"), range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 7


@pytest.mark.parametrize("spoil", ["wrong", "expired"])
def test_codes_that_are_not_good(application: Flask, context: Context, spoil: str) -> None:
    """A wrong code and an expired one are refused alike, with a problem document."""
    code = racks.new_code(context)
    if spoil == "expired":
        clock_of(context).move(3601)
    answer = enrol(application, code if spoil == "expired" else code + "x")

    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"


def test_a_refused_enrolment_leaves_the_code(application: Flask, context: Context) -> None:
    """A name that is taken, or that begins another's, is refused and does not use the code up."""
    code = racks.new_code(context)
    refusals = [enrol(application, code, "rack-1").status_code, enrol(application, code, "rack-11").status_code]
    with context.store.read() as session:
        unused = session.scalar(select(EnrolmentCode.used_at))

    assert refusals == [409, 409]
    assert unused is None
    assert enrol(application, code, "beta").status_code == 201


def test_a_rack_enrols_again_with_a_code_of_its_own(application: Flask, context: Context, seeded: Seeded) -> None:
    """A code made for a rack replaces its tokens and keeps its row."""
    answer = enrol(application, racks.new_code(context, "rack-1"), None)
    data = answer.json
    assert data is not None

    assert data["rack"]["id"] == seeded.rack_id
    assert call(application, "GET", "/offer").status_code == 401
    assert racks.authenticate(context, data["token"]).name == "rack-1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"interfaces": [{"name": "eth0"}]}, "interfaces"),
        ({"interfaces": "eth0"}, "interfaces"),
        ({"layout": {"root": "relative"}}, "layout.root"),
        ({"ports": {"dns": "53"}}, "ports.dns"),
        ({"ports": {"dns": 70000}}, "ports.dns"),
        ({"code": 5}, "code"),
    ],
)
def test_malformed_enrolments(application: Flask, context: Context, changes: dict[str, Any], field: str) -> None:
    """A malformed member is named, and nobody is enrolled."""
    answer = enrol(application, racks.new_code(context), **changes)
    assert answer.json is not None

    assert answer.status_code == 422
    assert answer.json["field"] == field.partition(".")[0]
    assert field.rpartition(".")[2] in answer.json["detail"] or field == "interfaces"
    assert [rack.name for rack in racks.find(context)] == ["rack-1"]


PATHS = [
    ("GET", "/wait"),
    ("GET", "/offer"),
    ("GET", "/broker"),
    ("GET", "/records"),
    ("POST", "/reports/apply"),
    ("POST", "/reports/observation"),
    ("POST", "/reports/records"),
    ("POST", "/reports/neighbours"),
    ("POST", "/reports/foreign-dhcp"),
    ("POST", "/reports/leases"),
    ("POST", "/records/snapshot"),
    ("POST", "/records/compare"),
    ("POST", "/reports/drift"),
    ("POST", "/reports/zones"),
    ("POST", "/reports/syslog"),
    ("GET", "/secrets/dns-secondary-1-1"),
    ("GET", "/questions"),
    ("POST", "/questions/1/claim"),
    ("POST", "/questions/1/answer"),
    ("GET", "/power/operations"),
    ("POST", "/power/operations/1/claim"),
    ("POST", "/power/operations/1/result"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("authorization", ["", "Bearer nobody", "Basic cmFjaw==", f"Bearer {RELAY_TOKEN}"])
def test_only_racks_may_call(application: Flask, method: str, path: str, authorization: str) -> None:
    """Without the rack's own token every path but enrol answers 401."""
    headers = {"Authorization": authorization} if authorization else {}
    answer = application.test_client().open(f"/rack/v1{path}", method=method, json={}, headers=headers)

    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"


def test_every_route_is_in_the_list(application: Flask) -> None:
    """The list of paths that need a token holds every route of the edge but enrol."""
    routes = {
        (
            method,
            rule.rule.removeprefix("/rack/v1")
            .replace("<int:operation_id>", "1")
            .replace("<int:question_id>", "1")
            .replace("<name>", "dns-secondary-1-1"),
        )
        for rule in application.url_map.iter_rules()
        if rule.rule.startswith("/rack/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert routes == {*PATHS, ("POST", "/enrol")}


def test_the_offer_as_a_rack_checks_it(application: Flask, context: Context, seeded: Seeded) -> None:
    """404 before the first offer; then one that the rack's own check accepts; 304 when the rack has it."""
    before = call(application, "GET", "/offer")
    reconcile(context, seeded.rack_id)
    answer = call(application, "GET", "/offer")
    again = call(application, "GET", "/offer", If_None_Match=answer.headers["ETag"])
    with changing(context) as session:
        public = offers.ensure_key(session, context)
    offer = Envelope.from_data(answer.json).open(public, "rack-1")

    assert before.status_code == 404
    assert answer.headers["ETag"] == '"1"'
    assert (again.status_code, again.data) == (304, b"")
    assert offer.number == 1
    assert {bundle.service for bundle in offer.bundles} >= {"kea4", "bind"}
    assert offer.subnets[0].rack_address == "10.20.0.1"


def test_records_are_those_of_the_caller(application: Flask, context: Context, seeded: Seeded) -> None:
    """A rack sees the hosts of its own VLANs only."""
    machine_id = make_machine(context, seeded, "web1")
    with changing(context) as session:
        addresses.claim(session, context, session.get_one(Machine, machine_id))
    token = (enrol(application, racks.new_code(context)).json or {})["token"]
    mine = call(application, "GET", "/records?after=0&limit=1000").json
    other = call(application, "GET", "/records", Authorization=f"Bearer {token}").json
    assert mine is not None
    assert other is not None
    hosts = [row["value"]["address"] for row in mine["records"] if row["key"].startswith("host:")]

    assert hosts == ["10.20.0.2"]
    assert mine["more"] is False
    assert other["records"] == []
    assert other["last"] >= mine["last"]


def test_snapshots_are_those_of_the_caller(application: Flask, context: Context, seeded: Seeded) -> None:
    """A rack gets whole buckets of its own scopes, and nothing of another's."""
    machine_id = make_machine(context, seeded, "web1")
    with changing(context) as session:
        addresses.claim(session, context, session.get_one(Machine, machine_id))
    token = (enrol(application, racks.new_code(context)).json or {})["token"]
    scope = f"vlan:{seeded.vlan_id}"
    body = {"scopes": {scope: [0, 255]}}
    mine = call(application, "POST", "/records/snapshot", body).json
    other = call(application, "POST", "/records/snapshot", body, Authorization=f"Bearer {token}")
    compared = call(application, "POST", "/records/compare", {"sequence": mine["as_of"], "roots": {scope: 1}}).json
    drift = {"scope": scope, "place": "store", "buckets": 1, "found": 1, "left": 0, "keys": ["host:1:x"]}
    told = call(application, "POST", "/reports/drift", drift)
    part = mine["parts"][0]

    assert (scope, 0, 255) == (part["scope"], part["first"], part["last"])
    assert ["10.20.0.2"] == [row["value"]["address"] for row in part["records"]]
    assert 404 == other.status_code
    assert (True, [scope]) == (compared["comparable"], list(compared["differ"]))
    assert 204 == told.status_code
    assert any("differs from ours" in reason for reason in rack_overview.of_rack(context, seeded.rack_id).reasons)


def test_observations_are_kept(application: Flask, context: Context, seeded: Seeded) -> None:
    """The newest word of each service replaces the last, and changed interfaces are attached."""
    service = {"digest": "d", "running": True, "probes_ok": True, "detail": None}
    body = {"offer": 3, "records": 7, "services": {"kea4": service, "bind": service}, "interfaces": INTERFACES}
    first = call(application, "POST", "/reports/observation", body)
    body["services"] = {"kea4": service | {"running": False, "detail": "stopped"}}
    ring_of(context).take()
    second = call(application, "POST", "/reports/observation", body)
    with context.store.read() as session:
        seen = {row.service: (row.running, row.detail) for row in session.scalars(select(Observation))}
        rack = session.get_one(Rack, seeded.rack_id)
        own = [row.address for row in session.scalars(select(IpAddress).where(IpAddress.kind == "rack"))]

    assert (first.status_code, second.status_code) == (204, 204)
    assert seen == {"kea4": (False, "stopped")}
    assert (rack.applied_offer, rack.applied_records) == (3, 7)
    assert own == ["10.20.0.9"]
    assert ring_of(context).take() == []


def test_a_library_that_the_rack_finds_later_changes_what_it_serves(
    application: Flask, context: Context, seeded: Seeded
) -> None:
    """Kea's hook, reported by an enrolled rack, is in its layout and raises its generation once; gone, it is left out."""
    hook = "/usr/lib/kea/hooks/libdhcp_lease_cmds.so"
    body = {"offer": 0, "records": 0, "services": {}}
    seen = []
    for said in ({}, {"kea_lease_hook": hook}, {"kea_lease_hook": hook}, {}, {"kea_lease_hook": ""}):
        assert call(application, "POST", "/reports/observation", body | {"layout": said}).status_code == 204

        with context.store.read() as session:
            rack = session.get_one(Rack, seeded.rack_id)
            seen.append((rack.layout.get("kea_lease_hook", ""), rack.generation))
    refused = call(application, "POST", "/reports/observation", body | {"layout": {"kea_lease_hook": "hooks/x.so"}})
    first = seen[0][1]

    assert seen == [("", first), (hook, first + 1), (hook, first + 1), (hook, first + 1), ("", first + 2)]
    assert refused.status_code == 422
    assert "kea_lease_hook" in refused.json["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/reports/apply", {"offer": 1, "service": "kea4", "outcome": "great", "stage": "check"}),
        ("/reports/apply", {"offer": True, "service": "kea4", "outcome": "kept", "stage": "check"}),
        ("/reports/apply", {"offer": 1, "service": "kea4", "outcome": "kept"}),
        ("/reports/records", {"applied": -1, "failed": []}),
        ("/reports/records", {"applied": 1, "failed": ["x"]}),
        ("/reports/records", {"applied": 1, "failed": [], "mended": ["x"]}),
        ("/reports/neighbours", {}),
        ("/reports/foreign-dhcp", {"looked": ["eth0"]}),
        ("/reports/foreign-dhcp", {"looked": ["a b"], "servers": []}),
        ("/reports/foreign-dhcp", {"looked": ["eth0"], "servers": [{"interface": "eth0", "server": "x"}]}),
        ("/reports/neighbours", {"neighbours": [{"interface": "eth0", "address": "x", "mac": "52:54:00:00:00:01"}]}),
        ("/reports/records", {"applied": 1, "failed": [], "mended": [{"sequence": "1", "scope": "s", "key": "k"}]}),
        ("/reports/observation", {"offer": 1, "records": 1, "services": []}),
        ("/records/snapshot", {"scopes": {"vlan:1": [0]}}),
        ("/records/snapshot", {"scopes": {"vlan:1": [9, 300]}}),
        ("/records/compare", {"sequence": 1, "roots": {"vlan:1": "x"}}),
        ("/reports/drift", {"scope": "s", "place": "moon", "buckets": 1, "found": 1, "left": 0, "keys": []}),
        ("/reports/observation", [1, 2]),
    ],
)
def test_malformed_reports(application: Flask, path: str, body: Any) -> None:
    """A report of the wrong shape is refused as such."""
    assert call(application, "POST", path, body).status_code == 422


def test_bodies_are_bounded(application: Flask) -> None:
    """A body above the edge's limit is refused before it is read."""
    body = {"offer": 1, "service": "kea4", "outcome": "kept", "stage": "check", "reason": "x" * 300_000}

    assert call(application, "POST", "/reports/apply", body).status_code == 413


def test_power_operations_of_the_caller(application: Flask, context: Context, seeded: Seeded) -> None:
    """An order is listed without secrets, claimed once with them, and answered; another rack sees nothing of it."""
    machine_id = make_machine(context, seeded, "web1")
    operation = power.request(context, machine_id, "on")
    token = f"Bearer {(enrol(application, racks.new_code(context)).json or {})['token']}"
    path = f"/power/operations/{operation.id}"
    listed = call(application, "GET", "/power/operations")
    foreign = call(application, "POST", f"{path}/claim", {}, Authorization=token)
    claimed = call(application, "POST", f"{path}/claim", {})
    twice = call(application, "POST", f"{path}/claim", {})
    done = call(application, "POST", f"{path}/result", {"ok": True, "power": "on", "reason": None, "seconds": 1.5})
    with context.store.read() as session:
        row = session.get_one(PowerOperation, operation.id)
        state = session.get_one(Machine, machine_id).power_state

    assert listed.json == {"operations": [{"id": operation.id, "machine": "web1", "verb": "on"}]}
    assert foreign.status_code == 404
    assert claimed.json is not None
    assert claimed.json["parameters"]["password"] == "hidden"
    assert "no-store" in claimed.headers["Cache-Control"]
    assert (twice.status_code, done.status_code) == (409, 204)
    assert (row.status, state) == ("done", "on")


def test_the_relay_is_known_by_its_own_token(context: Context, seeded: Seeded) -> None:
    """Only the right name with the right relay token is a rack; the rack's main token is not."""
    for header in ("", "rack-1", "rack-1:", f"rack-1:{RACK_TOKEN}", f"other:{RELAY_TOKEN}"):
        with pytest.raises(Unauthorized):
            racks.authenticate_relay(context, header)

    assert racks.authenticate_relay(context, seeded.relay_header).id == seeded.rack_id


@pytest.mark.parametrize(
    ("client", "address"), [("10.20.0.55", "10.20.0.1"), ("172.31.3.3", "172.31.0.1"), ("8.8.8.8", "10.20.0.1")]
)
def test_the_racks_address_towards_a_client(context: Context, seeded: Seeded, client: str, address: str) -> None:
    """A client is served from the rack's address in its own network, else from the first."""
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [{"name": "eth0", "mac": "m", "addresses": ["127.0.0.1/8", "10.20.0.1/24", "172.31.0.1/16"]}]

        assert racks.address_towards(session, rack, client) == address


def test_deleting_a_rack_kills_its_token(application: Flask, context: Context, seeded: Seeded) -> None:
    """A deleted rack may not call any more."""
    data = enrol(application, racks.new_code(context)).json
    assert data is not None
    racks.delete(context, data["rack"]["id"])
    answer = call(application, "GET", "/wait", Authorization=f"Bearer {data['token']}")

    assert answer.status_code == 401
