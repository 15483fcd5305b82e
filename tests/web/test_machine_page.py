"""One machine's page, in every state, with and without everything a machine may have."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from app.lifecycle.states import State
from app.lifecycle.table import actions, allowed, for_transient
from app.services.context import Context
from app.store.models import Event, Operation, ScriptResult
from app.web.machines import TIMELINE
from app.web.present import main_verb
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser

INVENTORY: dict[str, Any] = {
    "cpu": {"model": "EPYC 7313P", "architecture": "amd64", "sockets": 1, "cores": 16, "threads": 32, "numa": [{}, {}]},
    "memory": {"total_mib": 131072},
    "disks": {
        "disks": [{"name": "sda", "size_bytes": 8 * 1024**4, "model": "ST8000", "serial": "S1", "rotational": True}]
    },
    "nics": {
        "nics": [{"name": "eno1", "mac": "3c:ec:ef:00:00:01", "driver": "bnxt_en", "speed_mbps": 25000, "link": True}]
    },
    "pci": {
        "devices": [{"address": "0000:41:00.0", "class": "Ethernet controller", "vendor": "Broadcom", "product": "X"}]
    },
    "firmware": {
        "type": "uefi",
        "vendor": "AMI",
        "version": "2.4",
        "system": {"manufacturer": "Acme", "product": "M1"},
    },
    "lldp": {"neighbours": [{"interface": "eno1", "chassis_name": "leaf-1", "port_id": "Ethernet7"}]},
}


def run(context: Context, machine_id: int, action: str, step: str, status: str = "running", **values: Any) -> int:
    """An operation at a step; its id."""
    now = context.clock()
    row: dict[str, Any] = {"started_at": now, "step_started_at": now, "parameters": {"erase": "quick"}}
    if status != "running":
        row["finished_at"] = now + dt.timedelta(seconds=125)
    with context.store.write() as session:
        operation = Operation(machine_id=machine_id, action=action, step=step, status=status, **(row | values))
        session.add(operation)
        session.flush()
        return operation.id


@pytest.mark.parametrize("state", list(State))
def test_likeliest_verb(context: Context, seeded: Seeded, alice: Browser, state: State) -> None:
    """At most one verb stands out; it is one that the table allows, and the first on the page."""
    make_machine(context, seeded, "node-1", state=state)
    page = alice.page("/machines/node-1")
    verb = main_verb(state)
    shown = [one.attributes["action"].rpartition("/")[2] for one in page.all("form", hx_target="#live")]
    plain = [one for one in page.all("button", class_="main") if "details" not in one.inside]
    outstanding = [one.attributes["id"].partition("-")[2] for one in plain + page.all("summary", class_="main")]

    assert verb is None or (verb in {one.name for one in allowed(state)} and verb == shown[0])
    assert ([verb] if verb else []) == outstanding


@pytest.mark.parametrize("full", [True, False], ids=["full", "bare"])
@pytest.mark.parametrize("state", list(State))
def test_every_state(context: Context, seeded: Seeded, alice: Browser, vera: Browser, state: State, full: bool) -> None:
    """The page stands in every state, offers exactly the verbs of the table (and abort while one runs), none to viewers."""
    machine = make_machine(
        context,
        seeded,
        "node-1",
        state=state,
        bmc=full,
        inventory=INVENTORY if full else None,
        tags=("fast",) if full else (),
        owner_id=seeded.user_id if full else None,
        state_reason="it is so" if full else None,
    )
    if full and state.is_transient:
        run(
            context,
            machine,
            for_transient(state).name,
            for_transient(state).steps[0].name,
            progress={"message": "hello"},
        )
    page = alice.page("/machines/node-1")
    wanted = {one.name for one in allowed(state) if one.listed}

    assert wanted | ({"abort"} if full and state.is_transient else set()) == page.verbs()
    assert [state.label] == [one.text for one in page.all("span", class_="chip") if "h1" in one.inside]
    assert full == ("EPYC" in page.one("main").text)
    assert full == ("IPMI" in page.one("main").text)
    assert full != ("switch it by hand" in page.one("main").text)
    assert [] == vera.page("/machines/node-1").all("form", hx_target="#live")


def test_whole_machine(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Inventory and placement are written out for people."""
    make_machine(context, seeded, "node-1", inventory=INVENTORY, image_id=seeded.image_id, system_uuid="0e6f")
    page = alice.page("/machines/node-1")
    shown = [one.text for one in page.all("dd")]

    assert "node-1.lab.muster" in shown
    assert "debian-12-amd64" in shown
    assert "EPYC 7313P, 1 socket, 16 cores, 32 threads, 2 NUMA nodes" in shown
    assert "128.0 GiB" in shown
    assert "8.0 TiB, ST8000, rotating S1" in shown
    assert "bnxt_en, 25000 Mbit/s, link up 3c:ec:ef:00:00:01" in shown
    assert "UEFI AMI 2.4" in shown
    assert "Acme M1" in shown
    assert "leaf-1, port Ethernet7" in shown
    assert "1 PCI device" in page.one("details", id="pci").text


@pytest.mark.parametrize(
    "inventory",
    [
        {"cpu": None, "disks": [], "nics": {"nics": None}, "pci": "none", "firmware": {"system": None}, "lldp": 3},
        {"cpu": {"model": ["x"], "sockets": "many", "numa": 7}, "memory": {"total_mib": "lots"}},
        {"disks": {"disks": ["sda", {"size_bytes": -1, "model": {"a": 1}}]}, "pci": {"devices": [None, {}]}},
    ],
    ids=["wrong kinds", "wrong numbers", "wrong items"],
)
def test_odd_inventory(context: Context, seeded: Seeded, alice: Browser, inventory: dict[str, Any]) -> None:
    """Whatever a machine says of itself, its page stands."""
    make_machine(context, seeded, "node-1", inventory=inventory)

    assert "node-1.lab.muster" in [one.text for one in alice.page("/machines/node-1").all("dd")]


def test_steps_of_a_running_deployment(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Steps before the current one are done, those after it ahead; the bar shows how far the machine is."""
    machine = make_machine(context, seeded, "node-1", state="DEPLOYING")
    progress = {"message": "unpacking", "fraction": 0.25, "warnings": ["alice has no SSH key"]}
    run(context, machine, "deploy", "install", progress=progress, deadline_at=context.clock())
    page = alice.page("/machines/node-1")
    steps = [one for one in page.all("li") if "dot" not in one.attributes.get("class", "") and "ol" in one.inside]
    looks = [one.attributes["class"] for one in steps][: len(actions()["deploy"].steps)]

    assert ["done"] * 5 + ["current", "ahead"] == looks
    assert ["Install, current"] == [one.text for one in page.all("li", aria_current="step")]
    assert "0.25" == page.one("progress").attributes["value"]
    assert "unpacking" in page.one("section", id="card-steps").text
    assert ["alice has no SSH key"] == [one.text for one in page.all("p", class_="caution") if "section" in one.inside]
    assert "2" == page.one("section", id="card-steps").attributes["data-every"]


def test_old_fraction_is_not_shown(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The fraction of an earlier step is no longer shown in a step that has none."""
    machine = make_machine(context, seeded, "node-1", state="DEPLOYING")
    run(context, machine, "deploy", "first-boot", progress={"message": "waiting", "fraction": 0.9})

    assert [] == alice.page("/machines/node-1").all("progress")


@pytest.mark.parametrize(
    ("status", "step", "looks", "said"),
    [
        ("failed", "erase", ["done", "done", "done", "failed", "ahead", "ahead"], "the disk is dead"),
        ("aborted", "boot", ["done", "done", "failed", "ahead", "ahead", "ahead"], "the disk is dead"),
        ("succeeded", "free", ["done"] * 6, "Release succeeded after 2 min 5 s"),
    ],
)
def test_steps_of_an_ended_operation(
    context: Context, seeded: Seeded, alice: Browser, status: str, step: str, looks: list[str], said: str
) -> None:
    """An ended operation shows where it ended, why, and that nothing runs."""
    machine = make_machine(context, seeded, "node-1")
    reason = None if status == "succeeded" else "the disk is dead"
    run(context, machine, "release", step, status, reason=reason)
    page = alice.page("/machines/node-1")
    steps = [one for one in page.all("li") if one.attributes.get("class") in ("done", "failed", "ahead", "current")]

    assert looks == [one.attributes["class"] for one in steps]
    assert said in page.one("section", id="card-steps").text
    assert "data-every" not in page.one("section", id="card-steps").attributes


def test_steps_that_are_not_wanted(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A release without erasing draws only the steps that it takes."""
    machine = make_machine(context, seeded, "node-1", state="RELEASING")
    run(context, machine, "release", "power-off", parameters={"erase": "none"})
    steps = [
        one.text for one in alice.page("/machines/node-1").all("li") if one.text.endswith((", current", ", ahead"))
    ]

    assert ["Switch off, current", "Free its addresses, ahead"] == steps


def test_timeline_shows_the_newest(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The timeline begins with the newest event; of many, the oldest are left out and that is said."""
    machine = make_machine(context, seeded, "node-1")
    begin = context.clock()
    with context.store.write() as session:
        for number in range(TIMELINE + 5):
            at = begin + dt.timedelta(hours=number)
            session.add(Event(machine_id=machine, kind="machine.step", level="info", message=f"event {number}", at=at))
    page = alice.page("/machines/node-1")
    shown = [one for one in page.all("li") if one.attributes.get("id", "").startswith("event-")]
    days = [one.text for one in page.all("li", class_="day")]

    assert TIMELINE == len(shown)
    assert shown[0].text.endswith(f"event {TIMELINE + 4}")
    assert shown[-1].text.endswith("event 5")
    assert f"The last {TIMELINE} events" in page.one("section", id="card-timeline").text
    assert ["10 January 2026", "9 January 2026"] == days[:2]


def test_results(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Results show how each script ended, what it found and what it said; long outputs are cut."""
    machine = make_machine(context, seeded, "node-1")
    operation = run(context, machine, "commission", "done", "succeeded")
    now = context.clock()
    with context.store.write() as session:
        for script, status, words in (
            ("cpu", "passed", {"result": {"cores": 4}}),
            ("lldp", "timedout", {"stderr": "nobody spoke"}),
            ("bmc", "skipped", {}),
            ("lshw", "passed", {"stdout": "y" * 30_000}),
        ):
            session.add(
                ScriptResult(
                    machine_id=machine,
                    operation_id=operation,
                    script=script,
                    status=status,
                    seconds=1.5,
                    at=now,
                    **words,
                )
            )
    page = alice.page("/machines/node-1")
    shown = [one.text for one in page.all("details") if one.attributes["id"].startswith("result-")]
    chips = [one.attributes["class"] for one in page.all("span", class_="chip") if "details" in one.inside]

    assert 'passed cpu 1.50 s Result { "cores": 4 }' == shown[0]
    assert "timedout lldp 1.50 s Errors nobody spoke" == shown[1]
    assert "skipped bmc 1.50 s It said nothing." == shown[2]
    assert 20_000 == shown[3].count("y")
    assert ["chip good", "chip bad", "chip new", "chip good"] == chips


def test_live_part(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The page names the stream, what it follows and the part to ask for, and the part is what the page holds."""
    machine = make_machine(context, seeded, "node-1")
    page = alice.page("/machines/node-1")
    attributes = page.one("body").attributes

    assert f"machine:{machine}" == attributes["data-follow"]
    assert "/api/v1/events/stream?named=false" == attributes["data-stream"]

    part = alice.part(attributes["data-source"])

    assert {one.attributes["id"] for one in part.elements if "id" in one.attributes} <= {
        one.attributes["id"] for one in page.elements if "id" in one.attributes
    }
    assert [] == part.all("body")


@pytest.mark.parametrize(
    "path", ["/machines/404", "/machines/nothing", "/machines/99999999999999999999", "/machines/%F0"]
)
def test_unknown_machine(alice: Browser, path: str) -> None:
    """A machine that is not there is a page that says so."""
    assert "there is no such machine" in alice.page(path, 404).one("main").text
