"""Machines through the API: lists, entity tags, allocation, verbs, power, results, events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask

from app.api.streams import EXTENSION
from app.services.changes import changing, event
from app.services.context import Context
from app.store.models import ScriptResult
from tests.api.conftest import BASE, Caller
from tests.factories.control import Seeded, make_machine


def test_list_is_paged_by_key(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """Pages go on after the last id; the last page has no next."""
    ids = [make_machine(context, seeded) for _ in range(5)]
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        answer = viewer.get(f"/machines?limit=2&after={after}").get_json()
        seen += [item["id"] for item in answer["items"]]
        after = answer["next"]

    assert ids == seen


def test_list_is_filtered(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """By state, tag, hostname, MAC address, owner and pool."""
    one = make_machine(context, seeded, "one", tags=("gpu",))
    two = make_machine(context, seeded, "two", state="DEPLOYED", owner_id=seeded.user_id)
    mac = viewer.get("/machines/two").get_json()["interfaces"][0]["mac"]
    cases = {
        "state=READY": [one],
        "state=READY&state=DEPLOYED": [one, two],
        "tag=gpu": [one],
        "hostname=two": [two],
        f"mac={mac.upper()}": [two],
        "owner=alice": [two],
        "pool=default": [one, two],
        "pool=other": [],
        "zone=default&state=DEPLOYED": [two],
    }

    for query, wanted in cases.items():
        assert wanted == [item["id"] for item in viewer.get(f"/machines?{query}").get_json()["items"]], query
    assert 422 == viewer.get("/machines?state=LOST").status_code


def test_machine_has_a_version(operator: Caller, context: Context, seeded: Seeded) -> None:
    """The ETag is the version: a fresh copy is answered with 304, a stale change is refused with 412."""
    make_machine(context, seeded, "one")
    seen = operator.get("/machines/one")
    etag = seen.headers["ETag"]
    same = operator.get("/machines/one", headers={"If-None-Match": etag})
    changed = operator("PATCH", "/machines/one", {"tags": ["gpu"]}, headers={"If-Match": etag})
    stale = operator("PATCH", "/machines/one", {"tags": []}, headers={"If-Match": etag})

    assert "one.lab.muster" == seen.get_json()["fqdn"]
    assert (304, b"") == (same.status_code, same.data)
    assert (200, ["gpu"]) == (changed.status_code, changed.get_json()["tags"])
    assert etag != changed.headers["ETag"]
    assert 412 == stale.status_code


def test_allocation_says_what_left_none(operator: Caller, context: Context, seeded: Seeded) -> None:
    """The smallest machine that serves is given; then 409 names the constraint that excluded the last."""
    make_machine(context, seeded, "big", cpu_count=32)
    make_machine(context, seeded, "small")
    given = operator.post("/machines/allocate", {"cpu_count": 1, "subnet": "10.20.0.0/24"}).get_json()
    refused = operator.post("/machines/allocate", {"cpu_count": 64})

    assert ("small", "ALLOCATED", "alice") == (given["hostname"], given["state"], given["owner"])
    assert 409 == refused.status_code
    assert "cpu_count 64" in refused.get_json(force=True)["detail"]


def test_verbs_are_routes(operator: Caller, viewer: Caller, context: Context, seeded: Seeded) -> None:
    """A verb answers 202 with its operation, 409 from a wrong state, 422 for a wrong parameter, 403 for a viewer."""
    make_machine(context, seeded, "one")
    refused = viewer.post("/machines/one/commission")
    begun = operator.post("/machines/one/commission")
    again = operator.post("/machines/one/commission")
    wrong = operator.post("/machines/one/release", {"erase": "twice"})
    unknown = operator.post("/machines/one/commission", {"speed": 9})
    operation = operator.get(f"/operations/{begun.get_json()['id']}").get_json()
    aborted = operator.post("/machines/one/abort")

    assert (403, 202, 409, 422, 422) == tuple(answer.status_code for answer in (refused, begun, again, wrong, unknown))
    assert "erase" == wrong.get_json(force=True)["field"]
    assert ("commission", "running") == (operation["action"], operation["status"])
    assert "aborted" == aborted.get_json()["status"]
    assert "READY" == operator.get("/machines/one").get_json()["state"]


def test_power_secrets_are_masked(operator: Caller, viewer: Caller, context: Context, seeded: Seeded) -> None:
    """The password is never shown, and giving its mask back keeps it."""
    make_machine(context, seeded, "one")
    settings = {"address": "10.20.1.9", "username": "muster", "password": "do-not-show"}
    operator("PUT", "/machines/one/power", {"driver": "ipmi", "parameters": settings})
    shown = operator.get("/machines/one/power")
    kept = operator("PUT", "/machines/one/power", {"driver": "ipmi", "parameters": shown.get_json()["parameters"]})
    wrong = operator("PUT", "/machines/one/power", {"driver": "steam", "parameters": {}})

    assert "10.20.1.9" == shown.get_json()["address"]
    assert "do-not-show" not in shown.text + kept.text
    assert 200 == kept.status_code
    assert 422 == wrong.status_code
    assert 403 == viewer.get("/machines/one/power").status_code
    assert 202 == operator.post("/machines/one/power/query").status_code
    assert 404 == operator.post("/machines/one/power/explode").status_code


def test_drivers_are_described(viewer: Caller) -> None:
    """Every driver says which parameters it takes and which of them are secret."""
    found = {item["name"]: item for item in viewer.get("/power-drivers").get_json()["items"]}
    secret = [one["name"] for one in found["ipmi"]["parameters"] if one["secret"]]

    choices = {one["name"]: one["choices"] for one in found["redfish"]["parameters"]}

    assert {"ipmi", "manual", "redfish", "webhook"} <= set(found)
    assert ["password"] == secret
    assert (["auto", "session", "basic"], []) == (choices["auth"], choices["address"])


@pytest.mark.parametrize(
    ("driver", "wrong", "said"),
    [
        ("redfish", {"verify": "maybe"}, "'maybe' is not one of yes, no"),
        ("redfish", {"certificate": "ab:cd"}, "is not a SHA-256 fingerprint"),
        ("redfish", {"port": "0"}, "is not a port from 1 to 65535"),
        ("ipmi", {"firmware": "coreboot"}, "'coreboot' is not one of bios, uefi"),
        ("webhook", {"on_url": "pdu/on"}, "is not a URL"),
        ("webhook", {"token": "two\nlines"}, "the value has characters that cannot stand in a header"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_by_name(
    operator: Caller, context: Context, seeded: Seeded, driver: str, wrong: dict[str, str], said: str
) -> None:
    """The parameter, the value unless it is secret, and the rule are named before anything is stored."""
    make_machine(context, seeded, "one")
    right = {
        "webhook": {f"{verb}_url": "https://pdu.example/7" for verb in ("on", "off", "query")},
    }.get(driver, {"address": "10.20.1.9", "username": "muster", "password": "do-not-show"})
    answer = operator("PUT", "/machines/one/power", {"driver": driver, "parameters": right | wrong})
    problem = answer.get_json()

    assert 422 == answer.status_code
    assert said in problem["detail"]
    assert f"power_parameters.{next(iter(wrong))}" == problem["field"]
    assert "lines" not in problem["detail"]


def test_a_machine_is_entered_by_its_uuid(operator: Caller) -> None:
    """Instead of MAC addresses; once only, and not by what board makers leave in firmware."""
    uuid = "4C4C4544-0042-3510-8051-B7C04F4A5931"
    made = operator("POST", "/machines", {"system_uuid": uuid, "hostname": "rf-1"})
    again = operator("POST", "/machines", {"system_uuid": uuid})
    nobody = operator("POST", "/machines", {"system_uuid": "03000200-0400-0500-0006-000700080009"})
    neither = operator("POST", "/machines", {"hostname": "rf-2"})

    assert (201, uuid.lower()) == (made.status_code, made.get_json()["system_uuid"])
    assert [409, 422, 422] == [answer.status_code for answer in (again, nobody, neither)]


def test_results_and_raw_output(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """Results are listed without output; the output comes as plain text that is not sniffed."""
    machine_id = make_machine(context, seeded, "one")
    words: dict[str, Any] = {
        "exit_code": 0,
        "seconds": 0.5,
        "stdout": "<b>raw</b>",
        "stderr": "warn",
        "result": {"a": 1},
    }
    with context.store.write() as session:
        session.add(ScriptResult(machine_id=machine_id, script="cpu", status="passed", at=context.clock(), **words))
    listed = viewer.get("/machines/one/results").get_json()["items"]
    raw = viewer.get("/machines/one/results/cpu")

    assert [("cpu", "passed", {"a": 1})] == [(item["script"], item["status"], item["result"]) for item in listed]
    assert ("<b>raw</b>", "text/plain", "nosniff") == (raw.text, raw.mimetype, raw.headers["X-Content-Type-Options"])
    assert "warn" == viewer.get("/machines/one/results/cpu?stream=stderr").text
    assert 404 == viewer.get("/machines/one/results/gpu").status_code


def test_machine_by_hand(operator: Caller) -> None:
    """A machine can be made known by its MAC addresses; a taken one is refused."""
    made = operator.post("/machines", {"macs": ["52:54:00:AA:00:01"], "hostname": "hand-made"})
    taken = operator.post("/machines", {"macs": ["52:54:00:aa:00:01"]})

    assert (201, "NEW") == (made.status_code, made.get_json()["state"])
    assert 409 == taken.status_code


def say(context: Context, machine_id: int, message: str) -> None:
    with changing(context) as session:
        event(session, context, "machine.step", message, machine_id=machine_id)


def test_events_go_on_after_a_cursor(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """Events of one machine, oldest first, after an id."""
    one, two = make_machine(context, seeded, "one"), make_machine(context, seeded, "two")
    for machine_id, message in ((one, "a"), (two, "b"), (one, "c")):
        say(context, machine_id, message)
    first = viewer.get("/machines/one/events?limit=1").get_json()
    rest = viewer.get(f"/machines/one/events?after={first['next']}").get_json()

    assert (["a"], ["c"]) == ([item["message"] for item in first["items"]], [item["message"] for item in rest["items"]])
    assert 3 == len(viewer.get("/events").get_json()["items"])


def lines(response: Any) -> Iterator[str]:
    for chunk in response.response:
        yield from (chunk if isinstance(chunk, str) else chunk.decode()).splitlines()


def test_stream_is_live(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """What happens while the stream is open arrives in it, only for its machine, and only once."""
    one, two = make_machine(context, seeded, "one"), make_machine(context, seeded, "two")
    say(context, one, "before")
    answer = viewer.get("/machines/one/events/stream", buffered=False)
    timer = threading.Timer(0.3, lambda: [say(context, number, text) for number, text in ((two, "x"), (one, "live"))])
    timer.start()
    data = next(line for line in lines(answer) if line.startswith("data:"))
    timer.join()
    answer.close()

    assert "text/event-stream" == answer.mimetype
    assert '"message": "live"' in data


def test_stream_goes_on_from_the_last_event(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """With Last-Event-ID the stream begins with what was missed."""
    one = make_machine(context, seeded, "one")
    say(context, one, "seen")
    say(context, one, "missed")
    answer = viewer.get("/machines/one/events/stream", buffered=False, headers={"Last-Event-ID": "1"})
    data = next(line for line in lines(answer) if line.startswith("data:"))
    answer.close()

    assert '"message": "missed"' in data


@pytest.fixture
def opened(application: Flask) -> Iterator[list[Any]]:
    found: list[Any] = []
    yield found
    for answer in found:
        with suppress(Exception):
            answer.close()


def test_streams_are_bounded(
    viewer: Caller, application: Flask, context: Context, seeded: Seeded, opened: list[Any]
) -> None:
    """One stream too many is refused with 503; a closed one makes room."""
    make_machine(context, seeded, "one")
    opened += [viewer.get("/events/stream", buffered=False) for _ in range(2)]
    refused = viewer.get("/events/stream")
    opened.pop().close()
    later = viewer.get("/events/stream", buffered=False)
    opened.append(later)

    assert [200, 503, 200] == [opened[0].status_code, refused.status_code, later.status_code]
    assert EXTENSION in application.extensions
    assert BASE in refused.request.path
