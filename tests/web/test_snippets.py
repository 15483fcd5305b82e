"""DHCP snippets: written with the check's answer beside them, switched, reverted; the administrators' alone."""

from __future__ import annotations

from app.services import snippets
from app.services.context import Context
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.test_hostile import BAD

GOOD = "domain-search lab.example"
FORM = {"name": "search", "kind": "option", "place": "global", "body": GOOD, "enabled": "on", "force": "on"}


def test_made_changed_reverted_and_deleted(context: Context, seeded: Seeded, root: Browser) -> None:
    """A snippet's whole life, without the command line."""
    made = root.post("/snippets/new", {**FORM, "place": f"subnet:{seeded.subnet_id}", "description": BAD}).location
    page = root.page(made)
    assert GOOD == page.one("pre", id="body").text
    assert "subnet 10.20.0.0/24" in page.one("section", id="card-body").text
    assert BAD in page.one("main").text
    assert (snippets.get(context, 1).checked_by or "not checked") in page.one("main").text
    assert BAD in root.page("/snippets").one("table", id="snippets").text
    assert (
        made
        == root.post(f"{made}/edit", {"name": "search", "body": "domain-search other.example", "force": "on"}).location
    )
    history = root.page(made).one("section", id="card-history").text
    assert history.index("revision 2") < history.index("revision 1")
    assert made == root.post(f"{made}/switch", {"enabled": "off"}).location
    assert not snippets.get(context, 1).enabled
    part = checked(root.post(f"{made}/switch", {"enabled": "off"}, htmx=True))
    assert "Check and enable" == part.one("button", id="do-switch").text
    assert 422 == root.post(f"{made}/revert", {"revision": "x"}).status_code
    assert 404 == root.post(f"{made}/revert", {"revision": "9"}).status_code
    assert "/snippets" == root.post(f"{made}/delete").location
    assert [] == snippets.find(context)


def test_revert(context: Context, root: Browser) -> None:
    """A former body becomes the present one, as a new revision."""
    row = snippets.create(context, "search", "option", "global", GOOD, force=True)
    snippets.update(context, row.id, body="domain-search other.example", force=True)
    form = root.page(f"/snippets/{row.id}").one("form", id="revert-1").attributes
    answer = root.post(form["action"], {"revision": "1"})

    if answer.status_code == 409:  # No checker is installed here; the page says what to do.
        assert "install the server's package" in checked(answer, 409).one("main").text
    else:
        assert [3, GOOD] == [snippets.get(context, row.id).revision, snippets.get(context, row.id).body]


def test_the_answer_while_typing(seeded: Seeded, context: Context, root: Browser) -> None:
    """The form asks as one types; what is wrong is told with its line, and nothing is saved."""
    asks = root.page("/snippets/new").one("div", id="verdict").attributes
    assert "/snippets/check" == asks["hx-post"]
    assert "delay:" in asks["hx-trigger"]
    bad = checked(root.post(asks["hx-post"], {**FORM, "body": f"{GOOD}\nno-such-option 1"}, htmx=True))
    assert "line 2" in bad.one("ul", class_="refused").text
    assert "no-such-option" in bad.one("ul", class_="refused").text
    hostile = checked(root.post(asks["hx-post"], {**FORM, "body": BAD}, htmx=True))
    assert "<script>" in hostile.one("ul", class_="refused").text
    good = checked(root.post(asks["hx-post"], FORM, htmx=True))
    assert [] == good.all("ul", class_="refused")
    assert good.all("p", class_="taken") + good.all("p", class_="caution")
    nobody = checked(root.post(asks["hx-post"], {**FORM, "place": "machine", "machine": "who"}, htmx=True))
    assert "who" in nobody.one("p", class_="refused").text
    assert [] == snippets.find(context)


def test_a_refusal_stands_at_its_field(context: Context, seeded: Seeded, root: Browser) -> None:
    """What a checker refuses comes back with the rule at the body, also by force."""
    page = checked(root.post("/snippets/new", {**FORM, "body": "no-such-option 1"}), 422)

    assert "Rule: what is saved is good" in page.one("div", id="field-body-wrong").text
    assert "no-such-option 1" == page.one("textarea", id="field-body").text
    assert 422 == root.post("/snippets/new", {**FORM, "place": "machine"}).status_code
    make_machine(context, seeded, "node-1")
    made = root.post("/snippets/new", {**FORM, "place": "machine", "machine": "node-1"})
    assert 303 == made.status_code
    assert "a machine" in root.page(made.location).one("section", id="card-body").text


def test_who_may(context: Context, alice: Browser, root: Browser) -> None:
    """Bodies may hold secrets: only administrators see them, and the way to them."""
    row = snippets.create(context, "search", "option", "global", GOOD, force=True)
    for path in (
        "/snippets",
        f"/snippets/{row.id}",
        "/snippets/new",
        f"/snippets/{row.id}/edit",
        f"/snippets/{row.id}/delete",
    ):
        assert [403, 200] == [browser.get(path).status_code for browser in (alice, root)], path
    for path in (
        "/snippets/check",
        f"/snippets/{row.id}/check",
        f"/snippets/{row.id}/switch",
        f"/snippets/{row.id}/revert",
    ):
        assert 403 == alice.post(path, {**FORM, "revision": "1"}).status_code, path
        assert 403 == root.post(path, {**FORM, "revision": "1"}, csrf="wrong").status_code, path
    assert "/snippets" not in [one.attributes["href"] for one in alice.page("/").all("a")]
    assert snippets.get(context, row.id).enabled
