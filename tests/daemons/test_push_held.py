"""A plan that would take much away is held for one service, while the others go on; people let it go on or do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from app.services import domains
from tests.daemons.push_lab import PASSWORD, PushLab
from tests.daemons.rack_root import eventually

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]
EXTRA = ("one.muster", "two.muster", "three.muster")


def serves(lab: PushLab, zone: str) -> bool:
    """Whether the rack answers for a zone."""
    return bool(lab.host.resolve(f"{zone}.", "SOA"))


def approve_by_command(lab: PushLab, plan: int) -> None:
    """`muster rack approve`."""
    lab.muster("rack", "approve", str(plan))


def approve_by_api(lab: PushLab, plan: int) -> None:
    """The REST call."""
    assert "approved" == lab.api("POST", f"/plans/{plan}/approve")["status"]


def approve_on_page(lab: PushLab, plan: int) -> None:
    """The button, by somebody who has signed in."""
    client = lab.application.test_client()
    client.get("/login")
    for path, form in (("/login", {"name": "root", "password": PASSWORD}), (f"{lab.path}/plans/{plan}", {})):
        with client.session_transaction() as session:
            csrf = str(session.get("csrf", ""))
        assert 302 == client.post(path, data={**form, "csrf_token": csrf}).status_code


@pytest.mark.parametrize("approve", [approve_by_command, approve_by_api, approve_on_page])
def test_a_held_service_waits_and_the_others_go_on(lab: PushLab, approve: Callable[[PushLab, int], None]) -> None:
    """Three of five zones vanish: BIND keeps them until somebody approves that; Kea gets its change meanwhile."""
    made = [domains.create(lab.admin, name) for name in EXTRA]
    lab.heal()
    eventually(lambda: _all(serves(lab, name) for name in EXTRA), 60)
    for domain in made:
        domains.delete(lab.admin, domain.id)
    lab.change()
    reports = lab.push()
    shown = lab.api("GET", lab.path)
    plan = shown["held"][0]
    text = lab.muster("rack", "show", "rack-1")

    assert ("unchanged", "kept") == (reports["bind"].outcome, reports["kea4"].outcome)
    assert all(serves(lab, name) for name in EXTRA)
    assert not shown["in_sync"]
    assert "bind: 3 of 6 things served would be removed" in plan["dangers"][0]["sentence"]
    assert f"Plan {plan['id']} is held" in text
    assert f"muster rack approve {plan['id']}" in text
    assert f"Plan {plan['id']} is held" in lab.page()
    approve(lab, plan["id"])
    after = lab.push()

    assert "kept" == after["bind"].outcome
    assert not any(serves(lab, name) for name in EXTRA)
    lab.assert_serves()


def _all(answers: Iterable[bool]) -> None:
    assert all(answers)
