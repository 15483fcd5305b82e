"""What all resources share: pages, filters, fields, entity tags, media types, bounded bodies."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask import Flask

from app.services import operations, rack_interfaces
from app.services.changes import changing
from app.services.context import Context
from app.store.models import Event, Image, IpAddress, Operation, PowerOperation, Rack
from tests.api.conftest import BASE, Caller
from tests.api.test_accounts import a_public_key
from tests.factories.control import Seeded, make_machine, seed


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """What a small rack has; the rack's own address has a row."""
    made = seed(context)
    with changing(context) as session:
        rack_interfaces.attach_all(session, context)
    return made


BY_NUMBER = ("fabrics", "vlans", "subnets", "ranges", "domains", "zones", "pools", "racks", "users", "images")


@pytest.mark.parametrize("resource", BY_NUMBER)
def test_one_thing_is_tagged(admin: Caller, seeded: Seeded, resource: str) -> None:
    """An answer has a strong ETag; with If-None-Match it is 304 and empty; some fields only are another answer."""
    first = admin.get(f"/{resource}/1")
    tag = first.headers["ETag"]
    same = admin.get(f"/{resource}/1", headers={"If-None-Match": f'"x", {tag}'})
    name = "rack" if resource == "racks" else "id"
    some = admin.get(f"/{resource}/1?fields={name}", headers={"If-None-Match": tag})

    assert tag.startswith('"')
    assert (304, b"", tag) == (same.status_code, same.data, same.headers["ETag"])
    assert (200, [name]) == (some.status_code, list(some.get_json()))


def test_a_list_is_tagged(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """A list that has not changed is 304; with one more machine it is not."""
    tag = viewer.get("/machines").headers["ETag"]
    same = viewer.get("/machines", headers={"If-None-Match": tag})
    make_machine(context, seeded)

    assert 304 == same.status_code
    assert 200 == viewer.get("/machines", headers={"If-None-Match": tag}).status_code


GUARDED: dict[str, Any] = {
    "fabrics/1": {"name": "a"},
    "vlans/1": {"name": "a"},
    "subnets/1": {"name": "a"},
    "ranges/1": {"comment": "a"},
    "domains/1": {"ttl_seconds": 60},
    "zones/1": {"note": "a"},
    "pools/1": {"note": "a"},
    "tags/1": {"note": "a"},
    "users/1": {"active": True},
    "machines/m-one": {"tags": ["b"]},
}


@pytest.mark.parametrize("path", GUARDED)
def test_changes_are_guarded(admin: Caller, context: Context, seeded: Seeded, path: str) -> None:
    """A stale or weak If-Match is refused with 412, for PATCH and DELETE; the present one and * are not."""
    make_machine(context, seeded, "m-one", tags=("a",))
    tag = admin.get(f"/{path}").headers["ETag"]
    stale = admin("PATCH", f"/{path}", GUARDED[path], headers={"If-Match": '"0-0"'})
    weak = admin("PATCH", f"/{path}", GUARDED[path], headers={"If-Match": f"W/{tag}"})
    gone = admin("DELETE", f"/{path}", headers={"If-Match": '"0"'})

    assert (412, 412, 412) == (stale.status_code, weak.status_code, gone.status_code)
    problem = stale.get_json(force=True)
    assert "If-Match" == problem["field"]
    assert "read it again" in problem["remedy"]
    done = admin("PATCH", f"/{path}", GUARDED[path], headers={"If-Match": tag})
    assert 200 == done.status_code
    assert 200 == admin("PATCH", f"/{path}", GUARDED[path], headers={"If-Match": "*"}).status_code


def test_the_rest_is_guarded_too(admin: Caller, operator: Caller, context: Context, seeded: Seeded) -> None:
    """Settings, power, passwords, racks, addresses, keys and tokens: nothing is done to a stale version."""
    make_machine(context, seeded, "m-one")
    key = admin.post("/keys", {"public_key": a_public_key()}).get_json()["id"]
    address = {"subnet_id": seeded.subnet_id, "address": "10.20.0.50"}
    given = admin.post("/addresses", address).get_json()["id"]
    stale = {"If-Match": '"0"'}
    asked = [
        ("PUT", "/settings/ntp_upstreams", {"value": {"servers": []}}),
        ("PUT", "/machines/m-one/power", {"driver": "manual"}),
        ("PUT", f"/users/{seeded.user_id}/password", {"password": "long enough to do"}),
        ("DELETE", f"/racks/{seeded.rack_id}", None),
        ("DELETE", f"/addresses/{given}", None),
        ("DELETE", f"/keys/{key}", None),
        ("DELETE", "/tokens/1", None),
    ]

    for method, path, body in asked:
        assert 412 == admin(method, path, body, headers=stale).status_code, path
    tag = admin.get("/settings/ntp_upstreams").headers["ETag"]
    assert 200 == admin(*asked[0], headers={"If-Match": tag}).status_code
    tag = operator.get("/machines/m-one/power").headers["ETag"]
    assert 200 == operator(*asked[1], headers={"If-Match": tag}).status_code
    assert 412 == operator(*asked[1], headers={"If-Match": tag}).status_code


def test_fields_are_known(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """Only the fields that were asked for are shown; one that does not exist is refused with those that do."""
    make_machine(context, seeded, "m-one")
    some = viewer.get("/machines?fields=hostname,state,addresses").get_json()
    wrong = viewer.get("/machines?fields=hostname,colour").get_json(force=True)
    whole = viewer.get("/machines/m-one?fields=hostname,disks").get_json()

    assert [{"hostname": "m-one", "state": "READY", "addresses": []}] == some["items"]
    assert "next" in some
    assert (422, "fields") == (wrong["status"], wrong["field"])
    assert "colour" in wrong["detail"]
    assert "hostname" in wrong["detail"]
    assert {"hostname", "disks"} == set(whole)
    assert 422 == viewer.get("/machines?fields=").status_code


def test_every_field_of_a_machine_can_be_had_alone(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """What is not loaded is not needed."""
    make_machine(context, seeded, "m-one", tags=("gpu",), owner_id=seeded.user_id)
    whole = viewer.get("/machines").get_json()["items"][0]

    for name, value in whole.items():
        assert [{name: value}] == viewer.get(f"/machines?fields={name}").get_json()["items"], name


def test_mistyped_filters_are_refused(viewer: Caller) -> None:
    """A filter that does not exist does not match everything."""
    answer = viewer.get("/machines?stat=READY")

    assert (422, "stat") == (answer.status_code, answer.get_json(force=True)["field"])


def test_filters(admin: Caller, context: Context, seeded: Seeded) -> None:
    """Each list by what an operator looks for."""
    one, two = make_machine(context, seeded, "one"), make_machine(context, seeded, "two", state="NEW")
    mac = admin.get("/machines/one").get_json()["interfaces"][0]
    now = context.clock()
    with context.store.write() as session:
        machine = {"subnet_id": seeded.subnet_id, "address": "10.20.0.2", "address_key": f"{169082882:032x}"}
        session.add(IpAddress(**machine, kind="auto", interface_id=mac["id"], hostname="one"))
        for number, (machine_id, kind, level) in enumerate(((one, "a.b", "info"), (two, "c.d", "error"))):
            session.add(Event(machine_id=machine_id, kind=kind, level=level, message=f"Event {number}", at=now))
        for machine_id, status in ((one, "running"), (two, "failed")):
            words = {"action": "deploy", "step": "x", "parameters": {}, "started_at": now}
            session.add(Operation(machine_id=machine_id, status=status, **words))
            order = {"verb": "on", "status": "done", "deadline_at": now, "rack_id": seeded.rack_id}
            session.add(PowerOperation(machine_id=machine_id, **order))
        session.add(Image(name="other", os="x", release="1", architecture="arm64", recipe="r", current=False))
        session.add(Rack(name="second", enrolled_at=now, seen_at=now))
    moment = now.isoformat().replace("+00:00", "Z")
    cases = {
        "addresses?machine=one": 1, "addresses?machine=two": 0, "addresses?kind=auto": 1, "addresses?kind=rack": 1,
        "addresses?address=10.20.0.2": 1, "addresses?subnet_id=99": 0, "addresses?hostname=one": 1,
        "events?machine=one": 1, "events?kind=c.d": 1, "events?level=error": 1, "events?text=event": 2,
        f"events?since={moment}": 2, f"events?since={moment}&until={moment}": 2, "events?until=2020-01-01T00:00:00Z": 0,
        "machines/two/events?kind=a.b": 0, "machines/two/events?kind=c.d": 1,
        "operations?machine=one": 1, "operations?status=failed": 1, "operations?action=release": 0,
        "machines/two/operations?status=running": 0, f"operations?since={moment}": 2,
        "power-orders?machine=one": 1, "power-orders?verb=off": 0, "power-orders?status=done": 2,
        "images?architecture=arm64": 1, "images?current=true": 1, "images?name=other": 1,
        "racks?name=second": 1, "racks?text=rack": 1, f"racks?seen_since={moment}": 1,
        "users?role=admin": 1, "users?name=alice": 1, "users?text=LIC": 1, "users?active=false": 0,
        "tokens": 1, "tokens?user_id=1": 0, "keys?text=desk": 0, "keys?user_id=1": 1, "keys?fingerprint=SHA256:a&user_id=1": 1,
        "subnets?fabric_id=1": 1, "subnets?fabric_id=9": 0, "subnets?cidr=10.20.0.0/24": 1, "subnets?managed=false": 0,
        "subnets?address=10.20.0.77": 1, "subnets?address=10.21.0.1": 0, "vlans?rack_id=1": 1, "vlans?dhcp_on=false": 0,
        "vlans?vid=0": 1, "ranges?kind=dynamic": 1, "ranges?kind=reserved": 0, "fabrics?name=fabric-0": 1,
        "domains?name=lab.muster": 1, "zones?name=default": 1, "zones?text=DEF": 1, "pools?name=x": 0,
        "machines?subnet_id=1": 2, "machines?rack_id=9": 0, "racks/1/plans?status=held": 0,
        "audit?thing=machine": 0, "audit?actor=muster": 0, "audit?verb=create": 1, "audit?verb=delete": 0,
    }  # fmt: skip

    for query, wanted in cases.items():
        answer = admin.get(f"/{query}")
        assert (200, wanted) == (answer.status_code, len(answer.get_json()["items"])), query
    assert 404 == admin.get("/events?machine=nobody").status_code
    assert 422 == admin.get("/events?since=yesterday").status_code


def test_newest_first_lists_go_on_downwards(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """Pages of operations join without a gap; the last has no next."""
    machine_id = make_machine(context, seeded, "one")
    with context.store.write() as session:
        for _ in range(5):
            words = {"action": "deploy", "step": "x", "parameters": {}, "started_at": context.clock()}
            session.add(Operation(machine_id=machine_id, status="failed", **words))
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = viewer.get(f"/operations?limit=2&after={after}").get_json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]

    assert [row.id for row in operations.find(context, limit=10)] == seen
    assert sorted(seen, reverse=True) == seen


def test_others_tokens_are_the_administrators(operator: Caller, admin: Caller) -> None:
    """Another user's tokens, keys and sessions are listed for administrators only."""
    root = admin.get("/session").get_json()["user"]["id"]

    for resource in ("tokens", "keys", "sessions"):
        assert 403 == operator.get(f"/{resource}?user_id={root}").status_code
        assert 200 == admin.get(f"/{resource}?user_id=1").status_code


def test_media_types(operator: Caller) -> None:
    """A body that is no JSON is 415, an Accept that excludes JSON 406; both say what to do."""
    form = operator.post("/tags", data="name=gpu", headers={"Content-Type": "application/x-www-form-urlencoded"})
    none = operator.post("/tags", data=b'{"name": "gpu"}')
    page = operator.get("/tags", headers={"Accept": "text/html"})
    fine = [operator.get("/tags", headers={"Accept": one}).status_code for one in ("*/*", "application/*", "")]

    assert (415, 415, 406) == (form.status_code, none.status_code, page.status_code)
    assert [200, 200, 200] == fine
    for answer, field in ((form, "Content-Type"), (page, "Accept")):
        problem = answer.get_json(force=True)
        assert "application/problem+json" == answer.mimetype
        assert field == problem["field"]
        assert "application/json" in problem["remedy"]


def test_chunked_bodies_are_bounded(operator: Caller) -> None:
    """A body that does not say how long it is, is cut off at the bound all the same."""
    words: dict[str, Any] = {"input_stream": io.BytesIO(b"[" + b"1," * 1024 * 1024 + b"1]"), "content_length": None}
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    headers = {"Content-Type": "application/json"}
    answer = operator("POST", "/tags", headers=headers, environ_overrides=environ, **words)

    assert (413, "application/problem+json") == (answer.status_code, answer.mimetype)
    assert "1048576" in answer.get_json(force=True)["detail"]


def test_routing_says_what_to_do(viewer: Caller, application: Flask) -> None:
    """Unknown addresses and methods are problems with a type of their own and a remedy."""
    nothing = viewer.get("/nothing").get_json(force=True)
    method = viewer("PATCH", "/machines")
    problem = method.get_json(force=True)

    assert "urn:muster:problem:not-found" == nothing["type"]
    assert f"{BASE}/nothing" in nothing["detail"]
    assert "openapi" in nothing["remedy"]
    assert {"GET", "HEAD", "OPTIONS", "POST"} == set(method.headers["Allow"].split(", "))
    assert "GET, HEAD, POST" in problem["rule"]
