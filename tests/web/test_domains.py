"""Domains: records by hand, who serves a zone, outside secondaries."""

from __future__ import annotations

import pytest

from app.services import dns_records, dns_secondaries, domains, zone_reports
from app.services.context import Context
from app.store.models import InstalledName, Rack
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.test_hostile import BAD


def test_all_is_made_changed_and_deleted(seeded: Seeded, root: Browser) -> None:
    """A domain and its records, without the command line."""
    made = root.post("/domains/new", {"name": "lab.example", "ttl_seconds": "60", "description": "of the lab"}).location
    fields = root.page(made).one("form", id="add-record").attributes
    words = {"name": "www", "type": "A", "data": "192.0.2.7", "ttl_seconds": "90"}
    assert made == root.post(fields["action"], words).location
    page = root.page(made)
    assert "www A 192.0.2.7 90" in page.one("table", id="records").text
    assert "of the lab" in page.one("main").text
    edit = next(one.attributes["href"] for one in page.all("a") if one.attributes.get("id", "").startswith("edit-"))
    assert "192.0.2.7" == root.page(edit).one("input", id="field-data").attributes["value"]
    assert made == root.post(edit, {"data": "192.0.2.8"}).location
    assert "www A 192.0.2.8 60" in root.page(made).one("table", id="records").text
    assert made == root.post(edit.replace("/edit", "/delete")).location
    assert "Nobody has added a record." in root.page(made).one("table", id="records").text
    words = {"name": "lab.example", "ttl_seconds": "120", "primary_rack_id": str(seeded.rack_id)}
    assert made == root.post(f"{made}/edit", words).location
    assert "The primary is chosen." in root.page(made).one("section", id="card-servers").text
    assert "2 min" in root.page("/domains").one("table", id="domains").text
    assert "/domains" == root.post(f"{made}/delete").location
    assert "lab.example" not in root.page("/domains").one("table", id="domains").text


def test_renaming_lists_who_keeps_the_old_name(context: Context, seeded: Seeded, root: Browser) -> None:
    """The form has the name; the page names the deployed machine that was installed under the old one."""
    machine = make_machine(context, seeded, "old-1", state="DEPLOYED")
    with context.store.write() as session:
        session.add(InstalledName(machine_id=machine, name="old-1.lab.muster", at=context.clock()))
    path = f"/domains/{seeded.domain_id}"

    assert "lab.muster" == root.page(f"{path}/edit").one("input", id="field-name").attributes["value"]
    assert [] == root.page(path).all("section", id="card-stale")
    assert path == root.post(f"{path}/edit", {"name": "hall.example", "ttl_seconds": "30"}).location
    assert "hall.example" in root.page(path).one("h1").text
    assert "old-1 calls itself old-1.lab.muster" in root.page(path).one("section", id="card-stale").text


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        ({"name": "www", "type": "A", "data": "2001:db8::1"}, "data", "2001:db8::1"),
        ({"name": "www", "type": "A", "data": "192.0.2.7", "ttl_seconds": "0"}, "ttl_seconds", "Rule: 1 &lt;= ttl"),
        ({"name": "www", "type": "A", "data": "192.0.2.7", "ttl_seconds": "soon"}, "ttl_seconds", "'soon'"),
        ({"name": BAD, "type": "A", "data": "192.0.2.7"}, "name", "name"),
    ],
)
def test_a_refusal_stands_at_its_field(
    context: Context, seeded: Seeded, alice: Browser, words: dict[str, str], field: str, said: str
) -> None:
    """What was typed comes back with the reason, and nothing was added."""
    page = checked(alice.post(f"/domains/{seeded.domain_id}/records/new", words), 422)

    assert said.replace("&lt;", "<") in page.one("div", id=f"field-{field}-wrong").text
    assert words["name"] == page.one("input", id="field-name").attributes["value"]
    assert [] == dns_records.find(context, seeded.domain_id)


def test_a_rule_of_dns_is_told(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A name that is an alias can be nothing else; the page names the rule."""
    dns_records.create(context, seeded.domain_id, name="www", type="A", data="192.0.2.7")
    words = {"name": "www", "type": "CNAME", "data": "other.example."}
    page = checked(alice.post(f"/domains/{seeded.domain_id}/records/new", words), 409)

    assert "Rule: " in page.one("main").text
    assert "other.example." == page.one("input", id="field-data").attributes["value"]


def test_zones_at_racks(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Each rack's serial, and whether it is behind; the live part is the same without the frame."""
    with context.store.write() as session:
        session.add(other := Rack(name="rack-2", token_hash="x", enrolled_at=context.clock()))
        session.flush()
        other_id = other.id
    name = domains.get(context, seeded.domain_id).name
    path = f"/domains/{seeded.domain_id}"
    assert "rack-2 secondary - unknown never" in vera.page(path).one("table", id="servers").text
    zone_reports.observe(context, seeded.rack_id, {name: 7}, [])
    zone_reports.observe(context, other_id, {name: 6}, [])
    shown = "rack-1 primary 7 up to date 0 s ago rack-2 secondary 6 behind 0 s ago"

    assert shown in vera.page(path).one("table", id="servers").text
    assert shown in vera.part(path).one("table", id="servers").text
    assert path == vera.page(path).one("body").attributes["data-source"]


def test_search_and_pages(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Records are found by text and type; a long list has pages that keep what was asked."""
    add = [{"name": f"h{number}", "type": "A", "data": "192.0.2.1"} for number in range(201)]
    dns_records.bulk(context, seeded.domain_id, [*add, {"name": "x", "type": "TXT", "data": '"words"'}], [])
    path = f"/domains/{seeded.domain_id}"
    page = vera.page(f"{path}?text=h&type=A")
    more = page.one("nav", aria_label="Pages")
    link = next(one.attributes["href"] for one in page.all("a") if one.text == "Next page")

    assert "Next page" == more.text
    assert [1] == [len(vera.page(link).all("tr", id=f"record-{201}"))]
    assert "x TXT" in vera.page(f"{path}?type=TXT").one("table", id="records").text
    assert "No record is like that." in vera.page(f"{path}?text=nothing").one("table", id="records").text
    vera.page(f"{path}?after=x", 422)


def test_secondaries(context: Context, root: Browser, vera: Browser) -> None:
    """An outside server is added with a key that is shown once, and gets another one."""
    words = {"name": "ns9", "address": "192.0.2.53", "port": "5353"}
    shown = checked(root.post("/domains/secondaries/new", words))
    first = shown.one("input", id="secret").attributes["value"]
    second = checked(root.post("/domains/secondaries/1/key")).one("input", id="secret").attributes["value"]

    assert first != second
    assert "muster-ns9" in shown.one("main").text
    page = vera.page("/domains")
    assert "ns9 192.0.2.53 port 5353 muster-ns9 hmac-sha256" in page.one("table", id="secondaries").text
    assert first not in page.one("main").text
    assert "ns9 192.0.2.53" in vera.page("/domains/1").one("section", id="card-secondaries").text
    again = checked(root.post("/domains/secondaries/new", words), 409)
    assert "Rule: names of secondaries differ" in again.one("div", id="field-name-wrong").text
    assert "/domains" == root.post("/domains/secondaries/1/edit", {"address": "192.0.2.54"}).location
    assert ["192.0.2.54", 53] == [getattr(dns_secondaries.get(context, 1), name) for name in ("address", "port")]
    assert "/domains" == root.post("/domains/secondaries/1/delete").location
    assert [] == dns_secondaries.find(context)


def test_who_may(context: Context, seeded: Seeded, alice: Browser, vera: Browser, root: Browser) -> None:
    """Operators change records, administrators the rest, viewers nothing; nobody without the CSRF token."""
    record = dns_records.create(context, seeded.domain_id, name="www", type="A", data="192.0.2.7")
    root_path = f"/domains/{seeded.domain_id}"
    for path in ("/domains/new", f"{root_path}/edit", f"{root_path}/delete", "/domains/secondaries/new"):
        assert [403, 403, 200] == [browser.get(path).status_code for browser in (vera, alice, root)], path
    for path in (
        f"{root_path}/records/new",
        f"{root_path}/records/{record.id}/edit",
        f"{root_path}/records/{record.id}/delete",
    ):
        assert [403, 200] == [browser.get(path).status_code for browser in (vera, alice)], path
        assert 403 == vera.post(path).status_code
        assert 403 == alice.post(path, csrf="wrong").status_code
    page = vera.page(root_path)
    assert [] == page.all("form", id="add-record") + page.all("a", id=f"delete-{record.id}") + page.all(
        "a", id="to-edit"
    )
    assert 1 == len(dns_records.find(context, seeded.domain_id))


def test_hostile(context: Context, seeded: Seeded, root: Browser) -> None:
    """Texts of people are text."""
    domains.update(context, seeded.domain_id, description=BAD)
    dns_records.create(context, seeded.domain_id, name="t", type="TXT", data='"<script>alert(1)</script>{{ 7*7 }}"')
    for path in ("/domains", f"/domains/{seeded.domain_id}"):
        assert BAD in root.page(path).one("main").text
    assert (
        "<script>alert(1)</script>{{ 7*7 }}"
        in root.page(f"/domains/{seeded.domain_id}").one("table", id="records").text
    )
