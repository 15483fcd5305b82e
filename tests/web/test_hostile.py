"""What machines and people write is shown as text, whatever it is."""

from __future__ import annotations

from app.services.context import Context
from app.store.models import Apply, Event, Observation, Operation, Plan, Rack, RecordFailure, ScriptResult, Tag
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.test_machine_page import INVENTORY

BAD = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"


def bad(value: object) -> object:
    """The same shape with every text hostile, keys as they are."""
    if isinstance(value, dict):
        return {key: bad(one) for key, one in value.items()}
    return [bad(one) for one in value] if isinstance(value, list) else BAD


def test_machine(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A machine with hostile texts everywhere has a page without a foreign element or attribute."""
    machine = make_machine(
        context,
        seeded,
        BAD,
        state="DEPLOYING",
        inventory=bad(INVENTORY),
        state_reason=BAD,
        firmware=BAD,
        system_uuid=BAD,
    )
    now = context.clock()
    with context.store.write() as session:
        operation = Operation(
            machine_id=machine, action="deploy", step="install", started_at=now, step_started_at=now,
            progress={"message": BAD, "warnings": [BAD], "fraction": BAD},
        )  # fmt: skip
        session.add_all([operation, Event(machine_id=machine, kind="x", message=BAD, level="info", at=now)])
        session.flush()
        session.add(
            ScriptResult(
                machine_id=machine,
                operation_id=operation.id,
                script=BAD,
                status=BAD,
                seconds=1,
                at=now,
                stdout=BAD,
                stderr="</pre>" + BAD,
                result={BAD: BAD},
            )
        )
        session.add(Tag(name=BAD))
    for page in (alice.page(f"/machines/{machine}"), alice.part(f"/machines/{machine}/live")):
        assert [] == [one for one in page.all("img") if one.attributes["src"] == "x"]
        assert [] == [one for one in page.all("script") if "src" not in one.attributes]
        assert "49" not in page.one("h1" if page.all("h1") else "div").text
        assert page.one("h1").text.startswith(BAD)

    row = alice.page("/machines").one("tbody")

    assert BAD in row.text


def test_rack(context: Context, seeded: Seeded, root: Browser) -> None:
    """A rack that reports hostile texts has such a page too."""
    now = context.clock()
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.name, rack.interfaces = BAD, [{"name": BAD, "mac": BAD, "addresses": [BAD]}, {"name": BAD}, BAD, 3]
        session.add_all(
            [
                Observation(rack_id=rack.id, service=BAD, running=True, probes_ok=False, detail=BAD, at=now),
                RecordFailure(rack_id=rack.id, sequence=1, scope=BAD, key=BAD, reason=BAD, at=now),
                Apply(rack_id=rack.id, offer_number=1, service=BAD, outcome="failed", stage=BAD, reason=BAD, at=now),
                Plan(rack_id=rack.id, generation=1, status="held", created_at=now,
                     dangers=[{"sentence": BAD, "items": [BAD]}]),
            ]
        )  # fmt: skip
    page = root.page(f"/racks/{seeded.rack_id}")

    assert page.one("h1").text.startswith(BAD)
    assert BAD in root.page("/racks").one("tbody").text


def test_input(context: Context, nobody: Browser, alice: Browser) -> None:
    """What was typed comes back as text: names at sign-in, searches, paths, refusals."""
    nobody.get("/login")
    form = checked(nobody.post("/login", {"name": BAD, "password": "x", "next": "/machines?text=" + BAD}), 401)

    assert BAD == form.all("input", name="name")[0].attributes["value"]
    assert "/machines?text=" + BAD == form.all("input", name="next")[0].attributes["value"]

    search = checked(alice.client.get("/machines", query_string={"text": BAD}))

    assert BAD == search.one("input", name="text").attributes["value"]
    assert repr(BAD) in checked(alice.client.get("/machines", query_string={"state": BAD}), 422).one("main").text
