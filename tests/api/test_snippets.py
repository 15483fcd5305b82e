"""DHCP snippets over the API: checked without being saved, filtered, versioned, reverted."""

from __future__ import annotations

import pytest

from app.services import snippet_check
from app.services.context import Context
from app.store.models import Rack
from tests.api.conftest import Caller
from tests.factories.control import Seeded

OPTION = {"kind": "option", "scope": "subnet", "body": "ntp-servers 10.0.0.1", "force": True}


def test_a_check_names_the_line_and_saves_nothing(admin: Caller, seeded: Seeded) -> None:
    """Findings have a line and say who found them; a bad body is an answer, not a refusal."""
    body = {"kind": "option", "scope": "subnet", "subnet_id": seeded.subnet_id, "body": "tcode a\nntp-servers here"}
    verdict = admin.post("/dhcp-snippets/check", body).get_json()

    assert (False, 2, "") == (verdict["ok"], verdict["findings"][0]["line"], verdict["findings"][0]["program"])
    assert "no IPv4 address" in verdict["findings"][0]["message"]
    assert [] == admin.get("/dhcp-snippets").get_json()["items"]


def test_the_racks_that_are_not_asked_are_counted(
    admin: Caller, context: Context, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many racks a few are tried; what they serve is all that is read, and the others are told to the last one."""
    with context.store.write() as session:
        for number in range(3):
            session.add(Rack(name=f"far-{number}", token_hash=f"far-{number}", layout={}))
    monkeypatch.setattr(snippet_check, "MOST_RACKS", 1)
    verdict = admin.post("/dhcp-snippets/check", {"kind": "option", "scope": "global", "body": "tcode a"}).get_json()

    assert "3 more racks, to check it before they use it" == verdict["unchecked"][-1]


def test_snippets_are_found_changed_at_their_version_and_reverted(admin: Caller, seeded: Seeded) -> None:
    """Filters match, a stale ETag is refused, a former body comes back as a new revision."""
    made = admin.post("/dhcp-snippets", {**OPTION, "name": "time", "subnet_id": seeded.subnet_id})
    admin.post("/dhcp-snippets", {**OPTION, "name": "zone", "scope": "global", "body": "tcode a", "enabled": False})
    path = f"/dhcp-snippets/{made.get_json()['id']}"
    found = {
        query: [item["name"] for item in admin.get(f"/dhcp-snippets?{query}&fields=name").get_json()["items"]]
        for query in ("scope=global", f"subnet_id={seeded.subnet_id}", "enabled=true", "kind=kea4", "name=zone")
    }
    old = admin.get(path).headers["ETag"]
    changed = admin("PATCH", path, {"body": "ntp-servers 10.0.0.2", "force": True}, headers={"If-Match": old})
    stale = admin("PATCH", path, {"description": "late"}, headers={"If-Match": old})
    reverted = admin.post(f"{path}/revert", {"revision": 1, "force": True}).get_json()
    history = admin.get(f"{path}/revisions").get_json()["items"]
    missing = admin.post(f"{path}/revert", {"revision": 7})

    assert {
        "scope=global": ["zone"], f"subnet_id={seeded.subnet_id}": ["time"], "enabled=true": ["time"], "kind=kea4": [],
        "name=zone": ["zone"],
    } == found  # fmt: skip
    assert (201, 200, 412, 404) == (made.status_code, changed.status_code, stale.status_code, missing.status_code)
    assert (3, "ntp-servers 10.0.0.1") == (reverted["revision"], reverted["body"])
    assert [1, 2, 3] == [item["revision"] for item in history]


def test_a_refusal_names_rule_and_remedy(admin: Caller) -> None:
    """What Muster owns is named, with the line; force does not help."""
    body = {"name": "bad", "kind": "kea4", "scope": "global", "body": '{\n"hooks-libraries": []}', "force": True}
    answer = admin.post("/dhcp-snippets", body)
    problem = answer.get_json()

    assert (422, "body") == (answer.status_code, problem["field"])
    assert "line 2: hooks-libraries is Muster's own" in problem["detail"]
    assert "good in the server's own eyes" in problem["rule"]


def test_options_are_listed_with_what_they_take(admin: Caller) -> None:
    """Names, codes and kinds of both families."""
    items = {item["name"]: item for item in admin.get("/dhcp-options").get_json()["items"]}

    assert (42, 4, "IPv4 addresses") == tuple(items["ntp-servers"][key] for key in ("code", "family", "value"))
    assert (23, 6) == (items["dhcp6.dns-servers"]["code"], items["dhcp6.dns-servers"]["family"])
