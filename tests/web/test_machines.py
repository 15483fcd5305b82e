"""The list of machines: filters, pages, empty states."""

from __future__ import annotations

import pytest

from app.lifecycle.states import State
from app.services.context import Context
from app.web.machines import PAGE
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.document import Document


def names(page: Document) -> list[str]:
    """Hostnames in the list."""
    return [one.text for one in page.all("a") if one.attributes.get("id", "").startswith("to-machine-")]


def test_empty(alice: Browser) -> None:
    """Without machines the list says how the first one comes."""
    assert "No machine yet" in alice.page("/machines").one("td", class_="empty").text


def test_row(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A row holds what one looks for: name, state, power, owner, addresses, size, pool."""
    make_machine(
        context, seeded, "node-1", state="DEPLOYED", owner_id=seeded.user_id, power_state="on", memory_mib=16384
    )

    assert "node-1 Deployed on alice - 2 16.0 GiB 8.0 GiB default" == alice.page("/machines").one("tbody").text


@pytest.mark.parametrize("state", list(State))
def test_filter_by_state(context: Context, seeded: Seeded, alice: Browser, state: State) -> None:
    """Only machines in the state asked for are shown, and the form keeps the choice."""
    for one in State:
        make_machine(context, seeded, f"is-{one.lower().replace('_', '-')}", state=one)
    page = alice.page(f"/machines?state={state}")

    assert [f"is-{state.lower().replace('_', '-')}"] == names(page)
    assert state.label in page.one("tbody").text
    assert [str(state)] == [one.attributes["value"] for one in page.all("option", selected="")]


def test_filter_by_text(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The search finds parts of hostnames and of MAC addresses; what finds nothing says so and leads back."""
    for name in ("web-1", "web-2", "db-1"):
        make_machine(context, seeded, name)

    assert ["web-1", "web-2"] == names(alice.page("/machines?text=WEB"))
    assert 3 == len(names(alice.page("/machines?text=52:54:00")))
    assert [] == names(alice.page("/machines?text=%25"))
    assert "No machine matches" in alice.page("/machines?text=none%26&state=READY").one("td", class_="empty").text


def test_paging(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A page is followed by the next one with the same filters; every machine is on one of them, once."""
    for number in range(PAGE + 3):
        make_machine(context, seeded, f"node-{number:03}")
    make_machine(context, seeded, "other", state="BROKEN")
    first = alice.page("/machines?state=READY&text=node-")
    following = next(one.attributes["href"] for one in first.all("a") if one.text == "Next page")
    second = alice.page(following)

    assert [f"node-{number:03}" for number in range(PAGE + 3)] == names(first) + names(second)
    assert [] == [one for one in second.all("a") if one.text == "Next page"]
    assert ["/machines?state=READY&text=node-"] == [
        one.attributes["href"] for one in second.all("a") if one.text == "First page"
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=SLEEPING", "'SLEEPING'"),
        ("state=ready", "'ready'"),
        ("after=x", "'x'"),
        ("after=-1", "'-1'"),
        ("after=99999999999999999999", "'99999999999999999999'"),
        ("state=%3Cscript%3E", "'<script>'"),
    ],
)
def test_wrong_query(alice: Browser, query: str, said: str) -> None:
    """A query that makes no sense is a page that names the value and leads back."""
    page = alice.page(f"/machines?{query}", 422)

    assert said in page.one("section").text
    assert ["/machines"] == [one.attributes["href"] for one in page.all("a") if "machines" in one.text]


def test_odd_bytes(alice: Browser) -> None:
    """Bytes that are no text in the query are no error."""
    assert [] == names(checked(alice.client.get("/machines?text=%ff%fe")))


def test_live_rows(context: Context, seeded: Seeded, alice: Browser) -> None:
    """The live page asks for what it shows: the rows alone, with the filters and the page it is at."""
    make_machine(context, seeded, "node-1")
    make_machine(context, seeded, "node-2", state="BROKEN")
    body = alice.page("/machines?state=BROKEN&text=n%26o").one("body")

    assert "/machines?state=BROKEN&text=n%26o&after=0" == body.attributes["data-source"]
    assert "#rows" == body.attributes["data-refresh"]

    part = alice.part("/machines?state=BROKEN&after=0")

    assert ["node-2"] == names(part)
    assert [] == part.all("body")
