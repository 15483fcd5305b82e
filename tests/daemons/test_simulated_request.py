"""One id finds a change's whole way through a standing lab: request, audit, offer, rack, probes, report; and no secret is on it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.simulated import SimulatedMachine
from lab.standing import Lab
from tests.daemons.standing import deploy, machine_of, tiny_lab, wait_until

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(280)]

STRUCTURE, RECORD = "the-change.of-structure", "the-change.of-a-record"
BMC_PASSWORD = "planted-Bmc-Pa55word"
SYNC_SECONDS = 90.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with tiny_lab() as made:
        yield made


def grep(lab: Lab, word: str) -> str:
    """All log lines of control plane and rack that hold a word."""
    folders = [str(lab.control.state / "log"), str(lab.rack_root / "log")]
    done = subprocess.run(["grep", "-rhF", word, *folders], capture_output=True, text=True, check=False)
    return done.stdout


def events_of(lines: str, word: str) -> set[str]:
    """Names of the events that the lines tell of."""
    return {name for name in word.split() if f"event={name} " in lines}


def change(lab: Lab, request_id: str, method: str, path: str, body: dict[str, Any]) -> Any:
    """A change that is known by an id."""
    answer = lab.api.session.request(
        method, lab.api.base + path, json=body, headers={"X-Request-Id": request_id}, timeout=30
    )
    assert answer.status_code < 300, answer.text
    assert request_id == answer.headers["X-Request-Id"]
    return answer.json()


def test_one_grep_finds_a_change_of_structure(lab: Lab) -> None:
    """From the request to the rack's files and probes and back into the control plane's rows."""
    subnet = next(one for one in lab.api.get("/subnets")["items"] if one["cidr"] == "10.20.0.0/24")
    change(lab, STRUCTURE, "PATCH", f"/subnets/{subnet['id']}", {"lease_seconds": 4321})

    def applied() -> list[Any]:
        applies = lab.api.get(f"/racks/{lab.rack.rack_id}")["applies"]
        return [one for one in applies if STRUCTURE in str(one["request_id"]).split() and one["outcome"] == "kept"]

    wait_until("the apply to be reported", lambda: bool(applied()), SYNC_SECONDS)
    wanted = "request.done rack.planned rack.offered offer.taken apply.done rack.applied"
    wait_until("all log lines", lambda: events_of(grep(lab, STRUCTURE), wanted) == set(wanted.split()), SYNC_SECONDS)
    lines = grep(lab, STRUCTURE)
    audit = [one for one in lab.api.get("/audit", limit=500)["items"] if one["request_id"] == STRUCTURE]
    offered = [one for one in lab.api.get("/events", limit=500)["items"] if STRUCTURE in str(one["request_id"]).split()]

    assert ["kea4"] == sorted({one["service"] for one in applied()})
    assert [("admin", "update", "subnet")] == [(one["actor"], one["verb"], one["thing"]) for one in audit]
    assert "rack.offered" in {one["kind"] for one in offered}
    assert "/rack/v1/reports/apply" in lines
    assert f"/api/v1/subnets/{subnet['id']}" in lines


def test_secrets_are_in_no_process_list_and_no_log(lab: Lab) -> None:
    """A machine's life on real daemons: what was planted is in no command line, no log and no plan; and records keep their id."""
    secrets = {
        "administrator's password": str(lab.control.password),
        "API token": lab.api.session.headers["Authorization"].removeprefix("Bearer "),  # type: ignore[union-attr]
        "BMC password": BMC_PASSWORD,
    }
    for path in (lab.rack_root / "secrets").iterdir():
        secrets[f"rack's {path.name}"] = path.read_text().strip()
    secrets["secret key"] = (lab.control.state / "secret-key").read_text().strip()
    running: set[str] = set()
    with SimulatedMachine(lab.site, "server", mac="52:54:00:02:00:09") as machine:
        deploy(lab, machine)
        machine_id = machine_of(lab, machine)["id"]
        power = {"driver": "ipmi", "parameters": {"address": "10.20.0.1", "username": "u", "password": BMC_PASSWORD}}
        change(lab, RECORD, "PATCH", f"/machines/{machine_id}", {"hostname": "renamed"})
        lab.api.call("PUT", f"/machines/{machine_id}/power", json=power)
        lab.api.post(f"/machines/{machine_id}/power/query")

        def answered() -> bool:
            running.update(command_lines())
            return bool(grep(lab, "power.done"))

        wait_until("the rack to ask the BMC in vain", answered, SYNC_SECONDS)
    wanted = "records.applied request.done"
    wait_until("the record's way", lambda: events_of(grep(lab, RECORD), wanted) == set(wanted.split()), SYNC_SECONDS)
    logs = "".join(
        path.read_text(errors="replace")
        for folder in (lab.control.state / "log", lab.rack_root / "log")
        for path in folder.rglob("*")
        if path.is_file()
    )
    plans = str(lab.api.get(f"/racks/{lab.rack.rack_id}/plans")) + str(lab.api.get(f"/racks/{lab.rack.rack_id}"))
    places = {"process list": "\n".join(running), "logs": logs, "plans": plans}
    found = {(place, name) for place, text in places.items() for name, secret in secrets.items() if secret in text}

    assert len(secrets) >= 7
    assert "workers.rack" in places["process list"]
    assert "request.done" in logs
    assert set() == found


def command_lines() -> list[str]:
    """Command line and environment of every process; those that ended meanwhile are left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found
