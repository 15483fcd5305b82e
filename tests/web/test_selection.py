"""Many machines at once, and the overview."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from app.services import machines
from app.services.context import Context
from app.store.models import Operation, PowerOperation
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked, sign_up


def states(context: Context) -> dict[str, str]:
    """State by hostname."""
    return {one.hostname: one.state for one in machines.find(context)}


def test_each_has_its_own_result(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Nothing happens before the confirmation; then who refuses does not hold up the others."""
    sign_up(context, "bob", "operator")
    ids = [make_machine(context, seeded, name) for name in ("one", "two")]
    ids.append(make_machine(context, seeded, "new", state="NEW"))
    query = "&".join(f"machine={one}" for one in ids)
    page = alice.page(f"/machines/act?verb=allocate&{query}")

    assert (2, 1) == (len(page.all("tr", class_="can")), len(page.all("tr", class_="cannot")))
    assert {"one": "READY", "two": "READY", "new": "NEW"} == states(context)

    answer = alice.client.post(
        "/machines/act", data={"verb": "allocate", "machine": ids, "csrf_token": alice.csrf(), "owner": ""}
    )
    page = checked(answer)

    assert {"one": "ALLOCATED", "two": "ALLOCATED", "new": "NEW"} == states(context)
    assert "asked of 2; 1 refused" in page.one("p", class_="said").text
    assert "New" in page.one("tr", class_="cannot").text


def test_how_far_each_is(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The answer names its own part that changes; this tells steps, ends and failures, and nothing of other machines."""
    ids = [make_machine(context, seeded, name, state="NEW") for name in ("one", "two")]
    data = {"verb": "commission", "machine": ids, "csrf_token": alice.csrf()}
    body = checked(alice.client.post("/machines/act", data=data)).one("body").attributes

    assert f"machine:{ids[0]},{ids[1]}" == body["data-follow"]
    assert "0 of 2 done, 2 under way" in alice.part(body["data-source"]).one("p").text

    with context.store.write() as session:
        first, second = session.query(Operation).order_by(Operation.id)
        first.status, first.finished_at = "succeeded", first.started_at + dt.timedelta(seconds=75)
        second.status, second.finished_at, second.reason = "failed", context.clock(), "its fan is dead"
    part = alice.part(body["data-source"])

    assert "1 of 2 done, 1 failed" in part.one("p").text
    assert "commissioned, after 75 s" in part.one("tr", id="asked-1").text
    assert "its fan is dead" in part.one("tr", id="asked-2").text
    assert "not kept" in alice.page("/machines/acted?verb=commission&asked=1-2").one("tr", id="asked-1").text
    assert 0 == len(alice.page("/machines/acted?verb=commission&asked=99-1").all("progress"))


def test_power_orders_are_followed(context: Context, seeded: Seeded, alice: Browser) -> None:
    """What a rack says of an order is shown at its machine."""
    machine = make_machine(context, seeded, "one")
    with context.store.write() as session:
        session.add(PowerOperation(machine_id=machine, verb="on", rack_id=seeded.rack_id, deadline_at=context.clock()))
    there = f"/machines/acted?verb=power-on&asked={machine}-1"

    assert "waits for its rack" in alice.part(there).one("tr", id="asked-1").text
    with context.store.write() as session:
        order = session.get_one(PowerOperation, 1)
        order.status, order.power, order.seconds = "done", "on", 1.25
    assert "power on, after 1.25 s" in alice.part(there).one("tr", id="asked-1").text
    with context.store.write() as session:
        order = session.get_one(PowerOperation, 1)
        order.status, order.reason = "failed", "wrong password"
    assert "wrong password" in alice.part(there).one("tr", id="asked-1").text


@pytest.mark.parametrize("asked", ["", "3", "3-", "x-1", "1-" + "9" * 19])
def test_what_names_nothing_is_refused(alice: Browser, asked: str) -> None:
    """The address of such a page names machines and what was asked of them."""
    alice.page(f"/machines/acted?verb=deploy&asked={asked}", 422)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        pytest.param("verb=explode&machine=1", "'explode'", id="no such action"),
        pytest.param("verb=deploy", "no machine was chosen", id="nothing"),
        pytest.param(
            "verb=deploy&" + "&".join(f"machine={number}" for number in range(1, 203)), "202 machines", id="too many"
        ),
    ],
)
def test_wrong_requests(alice: Browser, query: str, said: str) -> None:
    """An action that there is not, nothing chosen and too many chosen are said so."""
    assert said in alice.page(f"/machines/act?{query}", 422).one("section").text


def test_viewers_change_nothing(context: Context, seeded: Seeded, vera: Browser) -> None:
    """A viewer who asks all the same gets each refusal, and nothing happens."""
    machine = make_machine(context, seeded, "one")
    page = checked(vera.post("/machines/act", {"verb": "allocate", "machine": str(machine)}))

    assert "may not" in page.one("tr", class_="cannot").text
    assert {"one": "READY"} == states(context)


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ({"verb": "add-tag", "tag": "gpu"}, "gpu old"),
        ({"verb": "remove-tag", "tag": "old"}, ""),
        ({"verb": "set-pool", "pool": "default"}, "old"),
    ],
)
def test_where_they_belong(context: Context, seeded: Seeded, alice: Browser, form: dict[str, str], change: str) -> None:
    """Tags, zones and pools of many are changed in the same way."""
    machine = make_machine(context, seeded, "one", tags=("old",))
    checked(alice.post("/machines/act", {**form, "machine": str(machine)}))

    assert change == " ".join(sorted(tag.name for tag in machines.get(context, machine).tags))


def test_overview(context: Context, seeded: Seeded, vera: Browser, tmp_path: Path) -> None:
    """The first page says what is wrong and why, what is under way and what is free."""
    make_machine(context, seeded, "idle")
    make_machine(context, seeded, "dead", state="FAILED_DEPLOYMENT", state_reason="it did not call home")
    busy = make_machine(context, seeded, "busy", state="DEPLOYING")
    now = context.clock()
    with context.store.write() as session:
        session.add(Operation(machine_id=busy, action="deploy", step="boot", started_at=now, step_started_at=now))
    page = vera.page("/")

    assert "dead Failed deployment" in page.one("ul", id="failed").text
    assert "it did not call home" in page.one("ul", id="failed").text
    assert "never heard of" in page.one("ul", id="troubles").text
    assert "busy Deploying" in page.one("ul", id="running").text
    assert "default default 1 3" in page.one("table", id="free").text
    assert {"READY", "DEPLOYING", "FAILED_DEPLOYMENT"} == {
        one.attributes["id"].removeprefix("state-")
        for one in page.all("li")
        if one.attributes.get("id", "").startswith("state-")
    }
