"""Snippets are judged by the servers' own checkers before anything is saved, and reach what they are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.services import addresses, daemon_check, events, records, snippets, subnets
from app.services.changes import changing
from app.services.context import Actor, Context
from app.services.errors import Conflict, Forbidden, Invalid, NotFound
from app.services.snippet_check import judge
from app.services.snippet_rules import Draft, racks_of
from app.store.intent import load_intent
from app.store.models import DhcpSnippet, Machine, Rack, Vlan
from renderers import registry
from renderers.bundle import Bundle, RenderedFile
from tests.daemons.requires import require
from tests.factories.control import Seeded, make_context, make_machine, seed
from tests.golden.case import cases, load

SUBNET = {"subnet_id": 1}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A rack with a served subnet, and an administrator."""
    require("kea-dhcp4")
    context = make_context(tmp_path)
    seed(context)
    return context.acting_as(Actor("root", "admin"))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The same for tests that save nothing."""
    require("kea-dhcp4")
    context = make_context(tmp_path_factory.mktemp("untouched"))
    seed(context)
    return context.acting_as(Actor("root", "admin"))


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """Ids of the rows: the first of each table."""
    return Seeded(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)


def rendered(context: Context) -> dict[str, Any]:
    """What the rack's Kea would have now."""
    with context.store.read() as session:
        intent = load_intent(session, 1)
    text = registry.service("kea4").render(intent).files[0].text
    return dict(json.loads(text[: text.index("<?")] + text[text.index("?>") + 2 :])["Dhcp4"])


def generation(context: Context) -> int:
    """Of the rack's structure."""
    with context.store.read() as session:
        return session.get_one(Rack, 1).generation


def test_a_good_option_is_checked_saved_rendered_and_remembered(context: Context) -> None:
    """It raises the rack's generation, is in Kea's file, and the audit tells of it without what it says."""
    before = generation(context)
    row = snippets.create(context, "time", "option", "subnet", "ntp-servers 10.20.0.99\r\n", **SUBNET)
    (subnet,) = rendered(context)["subnet4"]
    told = [item for item in events.newest_changes(context) if item.thing == "dhcp_snippet"]

    assert (True, 1, "ntp-servers 10.20.0.99\n") == (row.checked, row.revision, row.body)
    assert before + 1 == generation(context)
    assert "0A140063" in [option.get("data") for option in subnet["option-data"]]
    assert "ntp-servers" not in json.dumps([item.detail for item in told])
    assert ["create"] == [item.verb for item in told]


@pytest.mark.parametrize(
    ("kind", "scope", "targets", "body", "line", "phrase"),
    [
        ("option", "subnet", SUBNET, "\nntp-servers here", 2, "no IPv4 address"),
        ("kea4", "subnet", SUBNET, '{\n "valid-lifetime": 60,\n "pools": []\n}', 3, "pools is Muster's own"),
        ("kea4", "subnet", SUBNET, '{\n "valid-lifetime": "long"\n}', 2, "expecting integer"),
        ("kea4", "subnet", SUBNET, '{\n "renew-timer": 5,\n "option-data": [\n  {"name": "no-such"}]}', 4, "no-such"),
        ("kea4", "global", {}, '{"client-classes": [\n {"name": "x",\n  "test": "optin[1].hex"}]}', 3, "optin"),
        ("kea4", "vlan", {"vlan_id": 1}, '{"relay": {\n "ip-addresses": ["10.0.0"]}}', 2, "10.0.0"),
        ("kea4", "range", {"range_id": 1}, '{"option-data":\n [{"name": "routers", "data": "x"}]}', 2, "code: 3"),
    ],
)
def test_what_a_checker_refuses_is_not_saved(
    untouched: Context, kind: str, scope: str, targets: dict[str, int], body: str, line: int | None, phrase: str
) -> None:
    """Muster's rules and Kea's own words, with the line of the snippet; nothing of it is kept, by force neither."""
    verdict = snippets.check(untouched, kind, scope, body, **targets)
    with pytest.raises(Invalid) as refused:
        snippets.create(untouched, "bad", kind, scope, body, force=True, **targets)

    assert (False, line) == (verdict.ok, verdict.findings[0].line)
    assert phrase in verdict.findings[0].message
    assert phrase in refused.value.detail
    assert "body" == refused.value.field
    assert [] == snippets.find(untouched)
    assert "/tmp" not in verdict.findings[0].message


def test_a_snippet_that_is_fine_alone_is_judged_beside_the_others(context: Context) -> None:
    """Two classes of one name pass alone; the second is refused because the first is there."""
    body = '{"client-classes": [{"name": "phones", "test": "option[60].hex == \'a\'"}]}'
    first = snippets.create(context, "first", "kea4", "global", body)
    with pytest.raises(Invalid, match="phones"):
        snippets.create(context, "second", "kea4", "global", body)
    changed = snippets.update(context, first.id, body=body.replace("'a'", "'b'"))

    assert (2, True) == (changed.revision, changed.checked)


def test_snippets_of_both_families_are_judged_by_both_servers(context: Context) -> None:
    """Where a rack serves both, an option of everywhere is judged by Kea 4 and 6, and Kea 6's own JSON by Kea 6."""
    require("kea-dhcp6")
    with context.store.write() as session:
        rack = session.get_one(Rack, 1)
        (interface,) = rack.interfaces
        rack.interfaces = [{**interface, "addresses": [*interface["addresses"], "fd20::1/64"]}]
    subnet = subnets.create(context, "fd20::/64", 1)
    both = snippets.check(context, "option", "global", "dhcp6.dns-servers fd20::9\nntp-servers 10.0.0.1")
    right = snippets.check(context, "kea6", "subnet", '{"preferred-lifetime": 60}', subnet_id=subnet.id)
    wrong = snippets.check(context, "kea6", "subnet", '{\n"preferred-lifetime": "x"}', subnet_id=subnet.id)

    assert (True, ("kea-dhcp4 for rack-1", "kea-dhcp6 for rack-1")) == (both.ok, both.checked), both
    assert (True, ("kea-dhcp6 for rack-1",)) == (right.ok, right.checked), right
    assert [(2, "kea-dhcp6")] == [(one.line, one.program) for one in wrong.findings]


def test_history_and_revert(context: Context) -> None:
    """Each body is kept with its author; reverting checks the old one and makes it a new revision."""
    row = snippets.create(context, "time", "option", "global", "ntp-servers 10.0.0.1")
    snippets.update(context, row.id, body="ntp-servers 10.0.0.2")
    snippets.update(context, row.id, description="no new body")
    reverted = snippets.revert(context, row.id, 1)
    kept = [(item.revision, item.body, item.actor) for item in snippets.revisions(context, row.id)]

    assert (3, "ntp-servers 10.0.0.1") == (reverted.revision, reverted.body)
    assert [(1, "ntp-servers 10.0.0.1", "root"), (2, "ntp-servers 10.0.0.2", "root"),
            (3, "ntp-servers 10.0.0.1", "root")] == kept  # fmt: skip
    with pytest.raises(NotFound, match="no revision 9"):
        snippets.revert(context, row.id, 9)


def test_disabled_and_deleted_snippets_are_not_rendered(context: Context) -> None:
    """Both reach the rack, and neither asks a checker."""
    row = snippets.create(context, "time", "option", "global", "tcode Europe/Berlin")
    with_it = json.dumps(rendered(context))
    at = generation(context)
    snippets.update(context, row.id, enabled=False)
    without = json.dumps(rendered(context))
    snippets.delete(context, row.id)

    assert "tcode" in with_it
    assert "tcode" not in without
    assert at + 2 == generation(context)
    with pytest.raises(NotFound):
        snippets.get(context, row.id)


def test_a_machines_options_travel_with_its_host_record(context: Context, seeded: Seeded) -> None:
    """They are put when it gets an address, when they change, and taken when they go; its rack's structure stays."""
    machine_id = make_machine(context, seeded, "one")
    targets = {"machine_id": machine_id}
    row = snippets.create(context, "own", "option", "machine", "root-path nfs:/srv\ndhcp6.dns-servers ::1", **targets)
    at = generation(context)

    def options() -> Any:
        found = records.after(context, 1, 0)["records"]
        return [item["value"].get("options") for item in found if item["key"].startswith("host:")][-1]

    with changing(context) as session:
        addresses.claim(session, context, session.get_one(Machine, machine_id))
    claimed = options()
    snippets.update(context, row.id, body="root-path nfs:/other")
    changed = options()
    snippets.delete(context, row.id)

    assert [{"name": "root-path", "value": "nfs:/srv"}] == claimed
    assert [{"name": "root-path", "value": "nfs:/other"}] == changed
    assert options() is None
    assert at == generation(context)
    with pytest.raises(Invalid, match="one record that every server understands"):
        snippets.create(context, "kea", "kea4", "machine", "{}", **targets)


def test_a_machines_draft_is_tried_where_the_machine_is(context: Context, seeded: Seeded) -> None:
    """By the racks of its networks and no other; by any rack while it is in none that is served."""
    machine_id = make_machine(context, seeded, "one")
    with changing(context) as session:
        first = session.get_one(Rack, seeded.rack_id)
        same = {name: getattr(first, name) for name in ("layout", "ports", "interfaces", "control_plane_host")}
        own = Rack(name="own", token_hash="1" * 64, **same)
        session.add(own)
        session.flush()
        session.get_one(Vlan, seeded.vlan_id).rack_id = own.id
        own_id = own.id
    draft = Draft("option", "machine", "root-path nfs:/srv", target_id=machine_id)
    with context.store.read() as session:
        there = racks_of(session, draft)
    there_checked = judge(context, draft)
    with changing(context) as session:
        session.get_one(Vlan, seeded.vlan_id).rack_id = None
    anywhere = judge(context, draft)

    assert [own_id] == there
    assert [True, True] == [verdict.ok for verdict in (there_checked, anywhere)]
    assert ("kea-dhcp4 for own",) == there_checked.checked


def test_without_a_checker_it_takes_force_and_is_marked(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can judge it here: refused, unless forced; then it says that it is unchecked until somebody has."""
    monkeypatch.setattr(daemon_check.shutil, "which", lambda *_, **__: None)
    with pytest.raises(Conflict, match="kea-dhcp4 is not on this host") as refused:
        snippets.create(context, "time", "option", "global", "ntp-servers 10.0.0.1")
    forced = snippets.create(context, "time", "option", "global", "ntp-servers 10.0.0.1", force=True)
    monkeypatch.undo()
    checked = snippets.update(context, forced.id, body=forced.body)

    assert "by force" in str(refused.value.remedy)
    assert (False, True, 1) == (forced.checked, checked.checked, checked.revision)


def test_what_was_broken_before_is_not_blamed_on_a_new_snippet(context: Context) -> None:
    """The configuration is refused without it too, and that is said."""
    with context.store.write() as session:
        bad = DhcpSnippet(
            name="old", kind="kea4", scope="global", body='{"option-data": [{"name": "no-such"}]}',
            created_at=context.clock(),
        )  # fmt: skip
        session.add(bad)
    verdict = snippets.check(context, "option", "global", "tcode Europe/Berlin")

    assert "without this snippet too" in verdict.findings[0].message
    assert snippets.check(context, "option", "global", "tcode Europe/Berlin", snippet_id=1).ok


def test_only_administrators_see_and_change_snippets(context: Context) -> None:
    """They may hold what others should not see."""
    alice = context.acting_as(Actor("ops", "operator"))
    calls = (
        lambda: snippets.find(alice),
        lambda: snippets.get(alice, 1),
        lambda: snippets.revisions(alice, 1),
        lambda: snippets.check(alice, "option", "global", "x"),
        lambda: snippets.create(alice, "x", "option", "global", "x"),
        lambda: snippets.update(alice, 1, enabled=False),
        lambda: snippets.revert(alice, 1, 1),
        lambda: snippets.delete(alice, 1),
    )
    for call in calls:
        with pytest.raises(Forbidden):
            call()


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"kind": "odd"}, "kind"),
        ({"scope": "planet"}, "scope"),
        ({"scope": "subnet"}, "subnet_id"),
        ({"vlan_id": 1}, "vlan_id"),
        ({"scope": "subnet", "subnet_id": 9}, "subnet_id"),
        ({"name": "a\nb"}, "name"),
        ({"scope": "subnet", "subnet_id": 1, "body": "dhcp6.dns-servers ::1"}, "body"),
        ({"body": "# nothing"}, "body"),
        ({"body": "tcode a\x00b"}, "body"),
        ({"scope": "subnet", "subnet_id": 1, "kind": "kea6", "body": '{"valid-lifetime": 60}'}, "body"),
    ],
)
def test_what_does_not_fit_together_is_refused(untouched: Context, words: dict[str, Any], field: str) -> None:
    """The field is named."""
    given: dict[str, Any] = {"name": "x", "kind": "option", "scope": "global", "body": "tcode a", **words}
    with pytest.raises((Invalid, NotFound)) as refused:
        snippets.create(untouched, **given)

    assert field == refused.value.field


def test_a_name_is_taken_once(context: Context) -> None:
    """On creation and on renaming."""
    snippets.create(context, "one", "option", "global", "tcode a")
    two = snippets.create(context, "two", "option", "global", "pcode b")
    with pytest.raises(Conflict, match="is there already"):
        snippets.create(context, "one", "option", "global", "tcode a")
    with pytest.raises(Conflict, match="is there already"):
        snippets.update(context, two.id, name="one")


def test_a_checker_that_hangs_is_ended(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a deadline, and what it has started goes with it."""
    slow = tmp_path / "kea-dhcp4"
    slow.write_text("#!/bin/sh\nsleep 600 & wait\n")
    slow.chmod(0o755)
    monkeypatch.setattr(daemon_check, "SECONDS", 0.3)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    verdict = snippets.check(context, "kea4", "global", '{"valid-lifetime": 60}')

    assert "did not end within 0.3 s" in verdict.findings[0].message


GOLDEN = [
    (case, spec.name)
    for case in cases()
    for spec in registry.services()
    if spec.name in daemon_check.CHECKERS and spec.wanted(load(case))
]


@pytest.mark.parametrize(("case", "name"), GOLDEN)
def test_whatever_is_rendered_for_a_rack_can_be_judged_here(case: str, name: str) -> None:
    """Nothing that is on the rack only stands in the way: each golden case is good here too."""
    require(daemon_check.CHECKERS[name].program)
    judgement = daemon_check.judge(registry.service(name).render(load(case)), [])

    assert judgement.ok, judgement.said


def test_dhcpd_judges_files_that_name_a_racks_secrets() -> None:
    """What stands for the key is of its form; what is wrong is told with its line and without the file's name."""
    require("dhcpd")
    key = "omapi-port 7911;\nkey k {\n  algorithm hmac-sha256;\n  secret @secret:omapi@;\n}\nomapi-key k;\n"
    good = Bundle("dhcpd", (RenderedFile("dhcpd.conf", f"{key}max-lease-time 60;\n"),))
    bad = Bundle("dhcpd", (RenderedFile("dhcpd.conf", f"{key}max-lease-time long;\n"),))
    refused = daemon_check.judge(bad, [])

    assert daemon_check.judge(good, []).ok
    assert (False, "max-lease-time long;") == (refused.ok, refused.text.splitlines()[(refused.line or 1) - 1])
    assert "the-configuration" not in refused.said
