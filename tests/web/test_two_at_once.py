"""Two people at the same form: what one has changed meanwhile is not overwritten unseen by the other, who is told."""

from __future__ import annotations

from app.services import (
    devices,
    dns_records,
    dns_secondaries,
    domains,
    fabrics,
    placement,
    ranges,
    reservations,
    routes,
    settings,
    snippets,
    spaces,
    subnets,
    vlans,
)
from app.services.context import Context
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.document import Document

Words = dict[str, str]


def forms(context: Context, seeded: Seeded) -> dict[str, tuple[Words, Words]]:
    """Every form that changes a part of the network: what one person sends, and what another one."""
    far = subnets.create(context, "10.66.0.0/24", seeded.vlan_id)
    record = dns_records.create(context, seeded.domain_id, name="www", type="A", data="192.0.2.1")
    row = reservations.create(context, "10.20.0.30", "52:54:00:00:00:09")
    route = routes.create(context, seeded.subnet_id, far.id, "10.20.0.254")
    words = {"address": "10.20.0.30", "mac": "52:54:00:00:00:09"}
    way = {"destination_id": str(far.id), "gateway": "10.20.0.254"}
    part = ranges.create(context, far.id, kind="reserved", start="10.66.0.10", end="10.66.0.20")
    bounds = {"kind": "reserved", "start": "10.66.0.10"}
    network = {"vlan_id": str(seeded.vlan_id), "domain_id": str(seeded.domain_id)}
    rest = {"vid": "7", "mtu": "1500"}
    return {
        f"/fabrics/{fabrics.create(context, 'hall').id}/edit": ({"name": "a"}, {"name": "b"}),
        f"/vlans/{vlans.create(context, seeded.fabric_id, 7).id}/edit": ({"name": "a", **rest}, {"name": "b", **rest}),
        f"/spaces/{spaces.create(context, 'prod').id}/edit": ({"name": "a"}, {"name": "b"}),
        f"/subnets/{far.id}/edit": ({"name": "a", **network}, {"name": "b", **network}),
        f"/ranges/{part.id}/edit": ({"end": "10.66.0.21", **bounds}, {"end": "10.66.0.22", **bounds}),
        f"/reservations/{row.id}/edit": ({"comment": "a", **words}, {"comment": "b", **words}),
        f"/routes/{route.id}/edit": ({"metric": "1", **way}, {"metric": "2", **way}),
        f"/domains/{domains.create(context, 'a.example').id}/edit": (
            {"name": "a.example", "ttl_seconds": "60"},
            {"name": "a.example", "ttl_seconds": "90"},
        ),
        f"/domains/{seeded.domain_id}/records/{record.id}/edit": ({"data": "192.0.2.2"}, {"data": "192.0.2.3"}),
        f"/domains/secondaries/{dns_secondaries.create(context, 'out', '192.0.2.53').secondary.id}/edit": (
            {"address": "192.0.2.54"}, {"address": "192.0.2.55"},
        ),
        f"/devices/{devices.create(context, 'pdu-1').id}/edit": (
            {"hostname": "pdu-1", "description": "a"}, {"hostname": "pdu-1", "description": "b"},
        ),
        f"/snippets/{snippets.create(context, 's', 'option', 'global', 'domain-search a.example', force=True).id}/edit": (
            {"name": "a", "body": "domain-search a.example"}, {"name": "b", "body": "domain-search a.example"},
        ),
        "/settings/dns_forwarders": ({"value": "192.0.2.1"}, {"value": "192.0.2.2"}),
    }  # fmt: skip


def version(page: Document) -> str:
    """The version that a form carries."""
    return page.one("input", name="version").attributes["value"]


def test_nobodys_change_is_overwritten_unseen(context: Context, seeded: Seeded, root: Browser) -> None:
    """The slower one is refused with what to do, keeps what was typed, and may save it once that is known."""
    for path, (first, second) in forms(context, seeded).items():
        seen = version(root.page(path))
        assert 303 == root.post(path, {**first, "version": seen}).status_code, path
        refused = checked(root.post(path, {**second, "version": seen}), 412)
        told = refused.one("div", id="refused").text
        assert "has changed since you read it" in told
        assert "open it in another window" in told
        assert "ETag" not in told
        assert version(refused) != seen
        assert 303 == root.post(path, {**second, "version": version(refused)}).status_code, path

    assert ["192.0.2.2"] == settings.show(context)["dns_forwarders"]["servers"]


def test_a_machine_a_place_and_a_user_are_changed_by_one_at_a_time(
    context: Context, seeded: Seeded, root: Browser
) -> None:
    """Their forms carry what was seen as those of the network do."""
    machine = make_machine(context, seeded, "node-1")
    pool = placement.create(context, "pool", "spare").id
    rest = {"domain": "lab.muster", "zone": "default", "pool": "default"}
    for path, first, second in (
        (f"/machines/{machine}/edit", {"hostname": "node-1", "tags": "a", **rest}, {"hostname": "node-1", **rest}),
        (f"/places/pool/{pool}/edit", {"name": "spare", "note": "a"}, {"name": "spare", "note": "b"}),
        (f"/users/{seeded.user_id}/edit", {"role": "viewer", "active": "on"}, {"role": "admin", "active": "on"}),
    ):
        seen = version(root.page(path))
        assert 303 == root.post(path, {**first, "version": seen}).status_code, path
        refused = checked(root.post(path, {**second, "version": seen}), 412)
        assert 303 == root.post(path, {**second, "version": version(refused)}).status_code, path


def test_a_page_that_is_refused_shows_the_version_that_was_looked_at(
    context: Context, seeded: Seeded, root: Browser
) -> None:
    """What is mended on it and sent again has still not seen what another one has changed."""
    path, rest = f"/vlans/{vlans.create(context, seeded.fabric_id, 7).id}/edit", {"vid": "7", "mtu": "1500"}
    seen = version(root.page(path))
    assert 303 == root.post(path, {"name": "a", **rest, "version": seen}).status_code
    refused = checked(root.post(path, {"name": "b", "vid": "7", "mtu": "much", "version": seen}), 422)

    assert seen == version(refused)
    assert 412 == root.post(path, {"name": "b", **rest, "version": version(refused)}).status_code


def test_a_new_thing_has_no_version(root: Browser) -> None:
    """A form that adds something changes nothing that others could have changed."""
    assert [] == root.page("/fabrics/new").all("input", name="version")


def test_each_number_of_what_is_kept_has_its_own_words(root: Browser) -> None:
    """The form of a setting of many numbers says of each what it is."""
    labels = [one.text.strip() for one in root.page("/settings/retention").all("label")]

    assert "Event days" == labels[0]
    assert len(labels) == len(set(labels))
