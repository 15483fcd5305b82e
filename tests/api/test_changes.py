"""Answers to changes say what they have made, wait for the racks if asked to, and can be asked about later."""

from __future__ import annotations

import threading
import time

from app.services import addresses, records, reports
from app.services.changes import changing
from app.services.context import Context
from app.services.record_applies import Batch
from app.store.models import Machine, Rack
from tests.api.conftest import Caller
from tests.factories.control import Seeded, clock_of, make_machine
from workers.region.reconcile import reconcile


def answer_as_rack(context: Context, seeded: Seeded, sequence: int) -> None:
    """The rack has made records live."""
    batch = Batch(3, sequence, context.clock().timestamp() - 0.5, {"fetch": 0.1, "daemon": 0.2, "check": 0.1})
    reports.records_applied(context, seeded.rack_id, sequence, [], batch=batch)


def renamed(context: Context, seeded: Seeded) -> tuple[int, int]:
    """A machine with an address, whose name may change, which is a matter of records only; and its last sequence."""
    machine_id = make_machine(context, seeded, "web1")
    with changing(context) as session:
        addresses.claim(session, context, session.get_one(Machine, machine_id))
    with context.store.read() as session:
        return machine_id, records.last(session)


def test_a_change_names_its_sequence_and_can_be_asked_about(admin: Caller, context: Context, seeded: Seeded) -> None:
    """Not live before the rack has it, and says which rack; afterwards live, with each stage timed by one clock."""
    machine_id, last = renamed(context, seeded)
    changed = admin("PATCH", f"/machines/{machine_id}", {"hostname": "web2"})
    none = admin("PATCH", f"/machines/{machine_id}", {"zone": "default"})
    sequence = int(changed.headers["Muster-Sequence"])
    before = admin.get(f"/changes/{sequence}").json
    clock_of(context).move(2)
    answer_as_rack(context, seeded, sequence)
    after = admin.get(f"/changes/{sequence}").json

    assert sequence > last
    assert "Muster-Sequence" not in none.headers
    assert (False, ["rack-1"]) == (before["live"], [one["rack"] for one in before["missing"]])
    assert (True, [], None) == (after["live"], after["missing"], after["failure"])
    assert {"request": 0.0, "wake": 1.5, "fetch": 0.1, "daemon": 0.2, "check": 0.1, "report": 0.1, "total": 2.0} == (
        after["applies"][0]["seconds"]
    )
    assert 404 == admin.get(f"/changes/{sequence + 1}").status_code


def test_structure_waits_for_its_offer(admin: Caller, context: Context, seeded: Seeded) -> None:
    """A new domain is live when the rack runs an offer of its generation."""
    made = admin.post("/domains?wait=0", {"name": "new.muster"})
    path = f"/changes/0?generations={made.headers['Muster-Generations']}"
    unplanned = admin.get(path).json
    with context.store.write() as session:
        session.get_one(Rack, seeded.rack_id).control_plane_host = "10.20.0.1"
    reconcile(context, seeded.rack_id)
    offered = admin.get(path).json
    reports.observation(context, seeded.rack_id, offer=1, records=0, services={})
    run = admin.get(path).json

    assert ("no", "rack-1") == (made.headers["Muster-Live"], made.headers["Muster-Missing"])
    assert ["generation 2 is not planned yet"] == [one["what"] for one in unplanned["missing"]]
    assert ["offer 1 is not applied yet"] == [one["what"] for one in offered["missing"]]
    assert (True, []) == (run["live"], run["missing"])


def test_an_answer_waits_for_the_rack_and_no_longer(admin: Caller, context: Context, seeded: Seeded) -> None:
    """It comes as soon as the rack reports; a wait that is no number is refused before anything is changed."""
    machine_id, last = renamed(context, seeded)

    def soon() -> None:
        time.sleep(0.5)
        answer_as_rack(context, seeded, last + 100)

    refused = admin("PATCH", f"/machines/{machine_id}?wait=never", {"hostname": "web9"})
    began = time.monotonic()
    away = admin("PATCH", f"/machines/{machine_id}?wait=30", {"hostname": "web8"})
    at_once = time.monotonic() - began
    answer_as_rack(context, seeded, last)
    thread = threading.Thread(target=soon)
    thread.start()
    began = time.monotonic()
    answer = admin("PATCH", f"/machines/{machine_id}?wait=20", {"hostname": "web2"})
    waited = time.monotonic() - began
    thread.join()

    assert (422, "wait") == (refused.status_code, refused.json["field"])
    assert ("yes", "web2") == (answer.headers["Muster-Live"], answer.json["hostname"])
    assert 0.4 < waited < 15
    assert ("no", "rack-1") == (away.headers["Muster-Live"], away.headers["Muster-Missing"])
    assert at_once < 10
