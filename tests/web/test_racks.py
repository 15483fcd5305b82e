"""The racks' pages: in sync or not and why, held plans, what could not be applied."""

from __future__ import annotations

import datetime as dt

from app.services import events, foreign_dhcp
from app.services.context import Context
from app.store.models import (
    Apply,
    Observation,
    Plan,
    Rack,
    RecordDrift,
    RecordFailure,
    Vlan,
)
from tests.factories.control import Seeded, clock_of, ring_of
from tests.factories.rollouts import halt_rollout
from tests.web.conftest import Browser, checked

SENTENCE = "kea4 would stop serving 2 of 2 subnets"


def settle(context: Context, seeded: Seeded) -> None:
    """Make the rack of the seed one that runs all it should."""
    now = context.clock()
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.seen_at, rack.generation, rack.planned_generation = now, 3, 3
        rack.offer_number = rack.applied_offer = 7
        rack.applied_records = 41
        for service, probes in (("kea4", True), ("chrony", None)):
            session.add(Observation(rack_id=rack.id, service=service, running=True, probes_ok=probes, at=now))
        session.add(
            Apply(
                rack_id=rack.id,
                offer_number=7,
                service="kea4",
                outcome="kept",
                stage="probe",
                at=now,
                seconds={"gap": 0.12},
            )
        )


def hold_plan(context: Context, seeded: Seeded, rack_id: int | None = None) -> int:
    """A plan that waits for approval; its id."""
    danger = {"name": "vanish", "service": "kea4", "items": ["10.20.0.0/24"], "sentence": SENTENCE, "hashes": ["a"]}
    with context.store.write() as session:
        plan = Plan(
            rack_id=rack_id or seeded.rack_id,
            generation=3,
            status="held",
            dangers=[danger],
            danger_hash="h",
            created_at=context.clock(),
        )
        session.add(plan)
        session.flush()
        return plan.id


def test_list(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The list shows each rack's numbers and when it was heard of; its live part is the rows."""
    settle(context, seeded)
    clock_of(context).move(30)
    page = alice.page("/racks")

    assert "rack-1 30 s ago 7 7 41" == page.one("tbody").text
    assert ("/racks", "#rows") == tuple(page.one("body").attributes[name] for name in ("data-source", "data-refresh"))
    assert "rack-1 30 s ago 7 7 41" == alice.part("/racks").elements[0].text


def test_no_rack(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Without racks the list says how to enrol one."""
    with context.store.write() as session:
        session.query(Vlan).update({"rack_id": None})
        session.query(Rack).delete()

    assert "muster-rack enrol" in alice.page("/racks").one("td", class_="empty").text


def test_in_sync(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A rack that runs what it should is in sync, and nothing else is said."""
    settle(context, seeded)
    page = alice.page(f"/racks/{seeded.rack_id}")

    assert "In sync" == page.all("span", class_="chip")[0].text
    assert [] == page.all("ul", class_="reasons")
    assert ["kea4 yes green", "chrony yes none"] == sorted(
        (one.text for one in page.all("tr") if "tbody" in one.inside), reverse=True
    )
    assert "offer 7, kea4: kept (gap 0.12 s)" in page.one("section", id="card-applies").text
    assert [] == page.all("section", id="card-failures")


def test_not_in_sync(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Every reason why a rack is not in sync is a sentence on its page."""
    settle(context, seeded)
    now = context.clock()
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.generation, rack.offer_number, rack.seen_at = 4, 8, now - dt.timedelta(seconds=500)
        for service, running, detail in (("named", False, "it exited with 1"), ("squid", True, "no answer on 3128")):
            session.add(
                Observation(rack_id=rack.id, service=service, running=running, probes_ok=False, detail=detail, at=now)
            )
        session.add(
            RecordFailure(
                rack_id=rack.id, sequence=5, scope="zone:lab.muster", key="rrset:a.:A", reason="REFUSED", at=now
            )
        )
        session.add(
            Apply(
                rack_id=rack.id,
                offer_number=8,
                service="named",
                outcome="undone",
                stage="probe",
                reason="no SOA",
                at=now,
            )
        )
    plan = hold_plan(context, seeded)
    page = alice.page(f"/racks/{seeded.rack_id}")

    assert "Not in sync" == page.all("span", class_="chip")[0].text
    assert [
        "it was last heard of 500 s ago",
        "generation 4 is not planned yet (planned is 3)",
        "offer 8 is not applied yet (applied is 7)",
        f"plan {plan} is held and waits for approval",
        "Offer 8 for named did not serve when it was asked as a client asks: no SOA",
        "1 record changes could not be applied, the first: REFUSED",
        "named does not run: it exited with 1",
        "squid fails its probe: no answer on 3128",
    ] == [one.text for one in page.all("li") if "ul" in one.inside and "section" not in one.inside]
    assert "zone:lab.muster rrset:a.:A REFUSED" in page.one("section", id="card-failures").text
    assert "offer 8, named: undone at probe: no SOA" in page.one("section", id="card-applies").text
    assert "error" == page.all("li", class_="error")[0].attributes["class"]
    refused = page.one("section", id="card-refused").text
    assert "Offer 8 for named did not serve when it was asked as a client asks Why no SOA Changed by" in refused
    assert "There was nothing to put back: named does not run on this rack." in refused


def test_retry(context: Context, seeded: Seeded, alice: Browser, vera: Browser) -> None:
    """Whoever may operate asks for a retry on the page; a viewer sees what was refused, and no button."""
    settle(context, seeded)
    with context.store.write() as session:
        session.add(
            Apply(rack_id=seeded.rack_id, offer_number=7, service="kea4", outcome="failed", stage="check", reason="no",
                  at=context.clock())
        )  # fmt: skip
    path = f"/racks/{seeded.rack_id}"

    assert [] == vera.page(path).all("button", id="do-retry")
    assert 403 == vera.post(f"{path}/retry").status_code
    assert 1 == len(alice.page(path).all("button", id="do-retry"))
    assert 302 == alice.post(f"{path}/retry").status_code
    assert "alice asked for a retry of kea4." in [event.message for event in events.newest(context)]


def test_approve(context: Context, seeded: Seeded, alice: Browser, vera: Browser, root: Browser) -> None:
    """A held plan is shown with what it would take away; an administrator, and nobody else, lets it go on."""
    plan = hold_plan(context, seeded)
    path = f"/racks/{seeded.rack_id}"
    for browser in (alice, vera):
        page = browser.page(path)
        assert SENTENCE in page.one("section", id=f"plan-{plan}").text
        assert [] == page.all("form", id=f"approve-{plan}")
        assert 403 == browser.post(f"{path}/plans/{plan}", htmx=True).status_code
    form = root.page(path).one("form", id=f"approve-{plan}").attributes

    assert 403 == root.post(form["action"], csrf="wrong").status_code

    part = checked(root.post(form["action"], htmx=True))

    assert [] == part.all("section", id=f"plan-{plan}")
    assert ("reconcile", seeded.rack_id) in ring_of(context).calls
    assert 409 == root.post(form["action"]).status_code


def test_approve_of_another_rack(context: Context, seeded: Seeded, root: Browser) -> None:
    """A plan is approved only on its own rack's page."""
    with context.store.write() as session:
        session.add(other := Rack(name="rack-2", enrolled_at=context.clock()))
        session.flush()
        other_id = other.id
    plan = hold_plan(context, seeded, other_id)

    assert 404 == root.post(f"/racks/{seeded.rack_id}/plans/{plan}").status_code
    assert 302 == root.post(f"/racks/{other_id}/plans/{plan}").status_code


def test_compare_again(context: Context, seeded: Seeded, alice: Browser, vera: Browser) -> None:
    """An operator has a rack compared again; a viewer has no button for it and is refused."""
    path = f"/racks/{seeded.rack_id}"
    ring_of(context).take()

    assert [] == vera.page(path).all("form", id="ask-reconcile")
    assert 403 == vera.post(f"{path}/reconcile").status_code
    assert [] == ring_of(context).take()
    assert path == alice.post(alice.page(path).one("form", id="ask-reconcile").attributes["action"]).location
    assert ("reconcile", seeded.rack_id) in ring_of(context).take()


def test_bare_rack(seeded: Seeded, alice: Browser) -> None:
    """A rack that has only just enrolled has a page, and its live part is the same without the frame."""
    page = alice.page(f"/racks/{seeded.rack_id}")

    assert "The rack has not reported a service yet." in page.one("main").text
    assert "Nothing was applied yet." in page.one("main").text
    assert "10.20.0.1/24" in [one.text for one in page.all("dd")]
    assert page.one("div", id="columns").text == alice.part(f"/racks/{seeded.rack_id}").one("div", id="columns").text


def test_unknown_rack(alice: Browser) -> None:
    """A rack that is not there is a page that says so."""
    assert "404" in alice.page("/racks/404", 404).one("main").text


def test_what_it_serves_and_where_it_differed(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Each VLAN with why it is served there; records that differed, and whether they were mended."""
    path = f"/racks/{seeded.rack_id}"
    assert [] == vera.page(path).all("section", id="card-drift")
    with context.store.write() as session:
        session.get_one(Vlan, seeded.vlan_id).rack_id = seeded.rack_id
        for place, left in (("store", 0), ("daemon", 2)):
            session.add(
                RecordDrift(rack_id=seeded.rack_id, scope="zone/lab", place=place, buckets=1, found=3, left=left,
                            keys=["<b>one", "two", "three", "four"], at=context.clock())
            )  # fmt: skip
    page = vera.page(path)
    served, differed = page.one("li", id=f"serves-{seeded.vlan_id}").text, page.one("section", id="card-drift").text

    assert "untagged" in served
    assert "primary" in served
    assert "on eth0" in served
    assert "is the only one with an address there" in served
    assert "3 of zone/lab in the rack's own copy, all mended: <b>one, two, three" in differed
    assert "3 of zone/lab in what its daemon serves, 2 not mended" in differed
    assert "four" not in differed


def test_a_rollout_that_has_stopped(
    context: Context, seeded: Seeded, vera: Browser, alice: Browser, root: Browser
) -> None:
    """Its page says where, why, by whose change and who has it; an operator goes on; an administrator marks the canary."""
    settle(context, seeded)
    rollout_id, _ = halt_rollout(context, [seeded.rack_id])
    path = f"/racks/{seeded.rack_id}"
    card = vera.page(path).one("section", id="card-rollout").text
    going, marking = f"{path}/rollouts/{rollout_id}", f"{path}/canary"

    for words in ("halted", "other-rack", "squid did not serve: 403", "root: change setting (name proxy)", "rack-1"):
        assert words in card
    assert "it waits for wave 2 of 2 of rollout" in vera.page(path).one("ul", class_="reasons").text
    assert ([], 403) == (vera.page(path).all("form", id="go-on"), vera.post(going).status_code)
    assert going == alice.page(path).one("form", id="go-on").attributes["action"]
    assert path == alice.post(going).location
    assert "running" in alice.page(path).one("section", id="card-rollout").text
    assert 403 == alice.post(marking).status_code
    seen = root.page(path)
    for _ in range(2):  # Sent twice, it is what was asked for all the same.
        wanted = {"canary": str(seen.one("input", name="canary").attributes["value"])}
        assert path == root.post(str(seen.one("form", id="ask-canary").attributes["action"]), wanted).location
    assert "first to take what many racks are to take" in root.page(path).one("section", id="card-rack").text


def test_the_overview_names_the_first_and_counts_the_others(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Of very many racks that are not heard of a dozen stand there, each with its reasons, and a way to all of them."""
    settle(context, seeded)
    with context.store.write() as session:
        session.add_all(Rack(name=f"lost-{number:02}", token_hash=f"t{number}") for number in range(40))
    hold_plan(context, seeded)
    hold_plan(context, seeded)
    page = vera.page("/")
    rows = [one for one in page.all("li") if str(one.attributes.get("id", "")).startswith("trouble-")]

    assert 12 == len(rows)
    assert "and 29 more racks" in page.one("a", id="to-racks").text
    assert "it was never heard of" in page.one("ul", id="troubles").text


def test_a_foreign_dhcp_server_is_named(context: Context, seeded: Seeded, vera: Browser) -> None:
    """On the rack's page and on the overview, as text."""
    settle(context, seeded)
    assert [] == vera.page(f"/racks/{seeded.rack_id}").all("section", id="card-foreign-dhcp")
    item = {"interface": "eth0", "server": "10.20.0.66", "mac": "52:54:00:20:00:0b", "offered": "10.20.0.150"}
    foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [item])

    card = vera.page(f"/racks/{seeded.rack_id}").one("section", id="card-foreign-dhcp").text
    assert "10.20.0.66" in card
    assert "10.20.0.150" in card
    assert "10.20.0.66 (52:54:00:20:00:0b) offers" in vera.page("/").one("ul", id="troubles").text
