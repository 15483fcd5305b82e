"""Many machines at once, and the overview."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.services import machines
from app.services.context import Context
from app.store.models import Operation
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


@pytest.mark.parametrize(
    ("query", "said"), [("verb=explode&machine=1", "'explode'"), ("verb=deploy", "no machine was chosen")]
)
def test_wrong_requests(alice: Browser, query: str, said: str) -> None:
    """An action that there is not, and nothing chosen, are said so."""
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
