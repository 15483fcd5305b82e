"""Bulk work on pages: where it is listed, and that a browser gets a page where no address leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.services import jobs, renumbering, subnets
from app.services.context import Context
from app.store.models import Job
from tests.factories.control import Seeded
from tests.web.conftest import Browser, checked

MACHINES = [{"hostname": "bulk-1", "interfaces": []}, {"hostname": "bulk-2", "interfaces": []}]


def test_jobs_are_listed(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Newest first, a hundred a page, with how far each is; one under way stands on the overview too, and leads to its page."""
    with context.store.write() as session:
        for _ in range(100):
            session.add(
                Job(kind="reservations.import", status="succeeded", total=1, done=1, actor="bob", role="operator")
            )
    job = jobs.start(context, "machines.create", MACHINES)
    page = vera.page("/jobs")
    rows = [one.attributes["id"] for one in page.all("tr") if "id" in one.attributes]
    older = next(one.attributes["href"] for one in page.all("a") if one.text == "Older")

    assert (100, f"job-{job.id}") == (len(rows), rows[0])
    assert "Machines are added" in page.one("tr", id=rows[0]).text
    assert "0 of 2" in page.one("tr", id=rows[0]).text
    assert ["job-1"] == [one.attributes["id"] for one in vera.page(str(older)).all("tr") if "id" in one.attributes]
    assert "Machines are added" in vera.page("/").one("ul", id="jobs").text
    assert "Machines are added" in vera.page(f"/jobs/{job.id}").one("h1").text
    assert 422 == vera.get("/jobs?before=x").status_code


def test_what_a_job_waits_for_is_said_where_it_waits(context: Context, seeded: Seeded, root: Browser) -> None:
    """A renumbering begins when racks serve the new network; other bulk work waits for nothing."""
    made = jobs.start(context, "machines.create", MACHINES)
    moves = renumbering.start(context, subnets.create(context, "10.66.0.0/24", seeded.vlan_id).id, "10.67.0.0/24")

    assert [] == root.page(f"/jobs/{made.id}").all("p", id="job-wait")
    assert "serve the new network" in root.page(f"/jobs/{moves.id}").one("p", id="job-wait").text


@pytest.mark.parametrize("path", ["/machine", "/api/v1/nothing", "/jobs/none"])
def test_no_such_page(vera: Browser, nobody: Browser, path: str, tmp_path: Path) -> None:
    """A browser gets a page that leads on, with the menu when somebody is signed in; a program gets a problem."""
    asked = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    mine, theirs = (checked(one.client.get(path, headers=asked), 404) for one in (vera, nobody))
    program = vera.client.get(path, headers={"Accept": "*/*"})

    assert f"there is no page at {path}" in mine.one("main").text
    assert (True, False) == (bool(mine.all("nav")), bool(theirs.all("nav")))
    assert (404, "application/problem+json") == (program.status_code, program.mimetype)
