"""Rollouts on pages: all of them, and one with its waves."""

from __future__ import annotations

from app.services.context import Context
from app.store.models import Rollout
from tests.factories.control import Seeded
from tests.factories.rollouts import WHY, halt_rollout
from tests.store.test_query_counts import statements
from tests.web.conftest import Browser


def test_rollouts_are_listed(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Newest first, a hundred a page, with how far each is and by whose change; as many statements for many as for one."""
    with context.store.write() as session:
        session.add_all(Rollout(status="done", cause="upgrade", actor="Muster") for _ in range(100))
    with statements(context) as without:
        vera.page("/rollouts")
    rollout_id, _ = halt_rollout(context, [seeded.rack_id])
    with statements(context) as seen:
        page = vera.page("/rollouts")
    rows = [one.attributes["id"] for one in page.all("tr") if "id" in one.attributes]
    older = next(one.attributes["href"] for one in page.all("a") if one.text == "Older")
    first = page.one("tr", id=f"rollout-{rollout_id}").text

    assert (100, f"rollout-{rollout_id}") == (len(rows), rows[0])
    for words in ("halted", "at other-rack", "0 of 2", "root: change setting (name proxy)"):
        assert words in first
    assert ["rollout-1"] == [one.attributes["id"] for one in vera.page(str(older)).all("tr") if "id" in one.attributes]
    assert "Muster itself" in page.one("tr", id="rollout-2").text
    assert 422 == vera.get("/rollouts?before=x").status_code
    assert len(without) == len(seen)


def test_a_rollout_is_drawn_wave_by_wave(context: Context, seeded: Seeded, vera: Browser, alice: Browser) -> None:
    """Each rack in its wave, with what it did; who may lets a halted one go on, and its racks' pages lead here."""
    rollout_id, other = halt_rollout(context, [seeded.rack_id])
    path = f"/rollouts/{rollout_id}"
    page = vera.page(path)

    assert "one rack first" in page.one("section", id="wave-1").text
    assert "rack-1" in page.one("section", id="wave-2").text
    assert WHY in str(page.one("a", id=f"rack-{other}").attributes["title"])
    assert WHY in page.one("section", id="card-rollout").text
    assert ([], 403) == (page.all("form", id="go-on"), vera.post(f"{path}/continue").status_code)
    assert path == vera.page(f"/racks/{seeded.rack_id}").one("a", id="to-rollout").attributes["href"]
    assert path == alice.post(str(alice.page(path).one("form", id="go-on").attributes["action"])).location
    assert "running" in alice.page(path).one("section", id="card-rollout").text
    assert "left out by a person" in str(alice.page(path).one("a", id=f"rack-{other}").attributes["title"])
    assert 409 == alice.post(f"{path}/continue").status_code
    assert 404 == vera.get("/rollouts/999").status_code


def test_the_one_under_way_stands_on_the_overview(
    context: Context, seeded: Seeded, vera: Browser, alice: Browser
) -> None:
    """Halted it is among what is wrong, with where and why; running among what is busy; ended on neither."""
    with context.store.write() as session:
        session.add(Rollout(status="done", cause="upgrade", actor="Muster", begun_at=context.clock()))
    quiet = vera.page("/")
    assert [] == quiet.all("ul", id="halted") + quiet.all("ul", id="rollouts")
    rollout_id, _ = halt_rollout(context, [seeded.rack_id])
    page = vera.page("/")
    assert f"other-rack: {WHY}" in page.one("li", id=f"halted-{rollout_id}").text
    assert [] == page.all("ul", id="rollouts")
    alice.post(f"/rollouts/{rollout_id}/continue")
    page = vera.page("/")
    assert "0 of 2 racks" in page.one("li", id=f"rollout-{rollout_id}").text
    assert [] == page.all("ul", id="halted")
