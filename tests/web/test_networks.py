"""Networks: what each address is for, block by block, and the forms that change them."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest

from app.services import addresses, leases, neighbours, subnets
from app.services.context import Context
from app.store.models import IpAddress
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.document import Document

KINDS = ("gateway", "rack", "machine", "sticky", "kept", "discovered", "used", "dynamic", "reserved", "free", "outside")


def kinds(page: Document) -> dict[str, int]:
    """How many cells of each kind the map has."""
    cells = [
        one for one in (*page.all("a", class_="cell"), *page.all("span", class_="cell")) if "title" in one.attributes
    ]
    return dict(Counter(kind for one in cells for kind in one.attributes["class"].split() if kind in KINDS))


def test_a_cell_for_each_address(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A /24 has 256 cells, each of the kind that it is; a machine's leads to the machine."""
    machine = make_machine(context, seeded, "node-1")
    addresses.reserve(context, seeded.subnet_id, "10.20.0.9", "printer")
    with context.store.write() as session:
        interface = session.get_one(IpAddress, 1).interface_id
        session.add(
            IpAddress(subnet_id=seeded.subnet_id, address="10.20.0.10", address_key=f"{(10 << 24) + (20 << 16) + 10:032x}",
                      interface_id=interface or 1, hostname="node-1")
        )  # fmt: skip
    page = alice.page(f"/subnets/{seeded.subnet_id}")

    assert {"gateway": 1, "kept": 1, "machine": 1, "dynamic": 100, "outside": 2, "free": 151} == kinds(page)
    assert [f"/machines/{machine}"] == [one.attributes["href"] for one in page.all("a", class_="cell")]
    assert page.one("a", class_="cell").attributes["title"].startswith("10.20.0.10: node-1")


def test_what_was_only_observed_is_shown_as_such(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Leased and seen addresses that nobody was given have a kind and a legend; what clients call themselves is text."""
    now = context.clock()
    until, mac = now + dt.timedelta(seconds=600), "52:54:00:00:00:0a"
    seen = [leases.SeenLease(address, mac, None, "<b>pad", now, until) for address in ("10.20.0.150", "10.20.0.9")]
    leases.observe(context, seeded.rack_id, seen)
    addresses.reserve(context, seeded.subnet_id, "10.20.0.9", "printer")
    neighbours.report(context, seeded.rack_id, [{"interface": "eth0", "address": "10.20.0.77", "mac": mac}])
    page = alice.page(f"/subnets/{seeded.subnet_id}")
    listed = page.one("ul", id="discovered").text

    assert {"gateway": 1, "kept": 1, "discovered": 2, "dynamic": 99, "outside": 2, "free": 151} == kinds(page)
    assert "discovered: leased or seen 2" in page.one("ul", id="map-legend").text
    assert "<b>pad, 52:54:00:00:00:0a, leased by DHCP until" in listed
    assert "10.20.0.77" in listed
    assert "seen by rack-1" in listed
    assert "10.20.0.9" not in listed


def test_blocks_of_what_is_larger(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A /16 has a cell for each /24 that says what is in use and leads to its addresses; a /12 one for each /16."""
    large = subnets.create(context, "10.64.0.0/16", seeded.vlan_id)
    wide = subnets.create(context, "172.16.0.0/12", seeded.vlan_id)
    addresses.reserve(context, large.id, "10.64.3.7", "alone")
    addresses.reserve(context, wide.id, "172.20.9.9", "far")
    page = alice.page(f"/subnets/{large.id}")

    assert {"used": 1, "free": 255} == kinds(page)
    block = page.one("a", class_="used").attributes["href"]
    assert {"kept": 1, "free": 255} == kinds(alice.page(block))

    block = alice.page(f"/subnets/{wide.id}").one("a", class_="used").attributes["href"]
    assert "block=172.20.0.0/16" in block
    assert {"used": 1, "free": 255} == kinds(alice.page(block))


def test_ipv6_is_listed(context: Context, seeded: Seeded, alice: Browser) -> None:
    """Of an IPv6 subnet only what is used is shown, however large it is."""
    six = subnets.create(context, "2001:db8::/64", seeded.vlan_id)
    addresses.reserve(context, six.id, "2001:db8::7", "router")
    page = alice.page(f"/subnets/{six.id}")

    assert {} == kinds(page)
    assert "2001:db8::7" in page.one("table", id="used").text


@pytest.mark.parametrize(("block", "status"), [("10.99.0.0/24", 422), ("x", 422), ("10.20.0.128/25", 200)])
def test_wrong_block(seeded: Seeded, alice: Browser, block: str, status: int) -> None:
    """A block that is no part of the subnet is refused; a part is shown."""
    alice.page(f"/subnets/{seeded.subnet_id}?block={block}", status)


def test_a_refusal_stands_at_its_field(seeded: Seeded, root: Browser, context: Context) -> None:
    """What was typed comes back as text, with the sentence, the rule and the remedy at the field."""
    bad = "<script>alert(1)</script>"
    form = {"cidr": "10.50.0.7/24", "name": bad, "vlan_id": str(seeded.vlan_id), "lease_seconds": "600"}
    page = checked(root.post("/subnets/new", form), 422)

    assert "true" == page.one("input", id="field-cidr").attributes["aria-invalid"]
    assert "Remedy: write 10.50.0.0/24" in page.one("div", id="field-cidr-wrong").text
    assert bad == page.one("input", id="field-name").attributes["value"]
    assert 1 == len(subnets.find(context))

    answer = root.post("/subnets/new", {**form, "cidr": "10.50.0.0/24"})

    assert 303 == answer.status_code
    assert bad in root.page(answer.location).one("h1").text


def test_numbers_are_numbers(seeded: Seeded, root: Browser) -> None:
    """What is no number is refused at its field, before any service is asked."""
    page = checked(root.post("/vlans/new", {"fabric_id": str(seeded.fabric_id), "vid": "many"}), 422)

    assert "'many'" in page.one("div", id="field-vid-wrong").text


def test_who_may(seeded: Seeded, alice: Browser, vera: Browser, root: Browser) -> None:
    """Operators reserve addresses, administrators do the rest; a form without its CSRF token does nothing."""
    assert 403 == alice.get("/subnets/new").status_code
    assert 403 == vera.get(f"/subnets/{seeded.subnet_id}/reserve").status_code
    assert 403 == root.post("/fabrics/new", {"name": "b"}, csrf="wrong").status_code

    answer = alice.post(f"/subnets/{seeded.subnet_id}/reserve", {"address": "10.20.0.9", "hostname": "printer"})

    assert 303 == answer.status_code
    assert "printer" in alice.page(answer.location).one("table", id="used").text


def test_all_is_made_changed_and_deleted(seeded: Seeded, root: Browser) -> None:
    """Fabric, VLAN, subnet, range and reservation, without the command line."""
    assert 303 == root.post("/fabrics/new", {"name": "hall-b"}).status_code
    assert 303 == root.post("/fabrics/2/edit", {"name": "hall-c"}).status_code
    assert 303 == root.post("/vlans/new", {"fabric_id": "2", "vid": "20"}).status_code
    assert 303 == root.post("/vlans/3/edit", {"name": "storage", "vid": "21", "mtu": "9000"}).status_code
    assert 303 == root.post("/subnets/new", {"cidr": "10.9.0.0/24", "vlan_id": "3"}).status_code
    assert 303 == root.post("/subnets/2/edit", {"vlan_id": "3", "domain_id": "1", "gateway": "10.9.0.1"}).status_code
    refused = checked(root.post("/subnets/2/edit", {"vlan_id": "3"}), 404)
    assert "no domain 0" in refused.one("div", id="field-domain_id-wrong").text
    words = {"kind": "reserved", "start": "10.9.0.50", "end": "10.9.0.60"}
    assert 303 == root.post("/subnets/2/ranges/new", words).status_code
    assert 303 == root.post("/ranges/2/edit", {**words, "end": "10.9.0.70"}).status_code
    assert 303 == root.post("/subnets/2/reserve", {"address": "10.9.0.9"}).status_code
    shown = root.page("/networks").one("main").text
    assert all(word in shown for word in ("hall-c", "storage", "10.9.0.0/24", "10.9.0.1"))
    page = root.page("/subnets/2")
    free = next(one.attributes["href"] for one in page.all("a") if one.attributes.get("id", "").startswith("free-"))
    for path in (free.removesuffix("/delete"), "/ranges/2", "/subnets/2", "/vlans/3", "/fabrics/2"):
        assert 303 == root.post(f"{path}/delete").status_code, path

    assert "10.9.0.0/24" not in root.page("/networks").one("table").text


def test_settings_of_several_values_are_changed_in_a_form(root: Browser) -> None:
    """Each setting's page asks for all that it has; a refusal is told on the page, and what is right is kept."""
    names = (
        "kernel_options",
        "proxy",
        "ntp_upstreams",
        "dnssec_validation",
        "retention",
        "enrolment_policy",
        "dns_forwarders",
        "rack_keys",
    )
    for name in names:
        root.page(f"/settings/{name}")
    wrong = root.post("/settings/proxy", {"value": "peer", "url": ""})
    answer = root.post("/settings/proxy", {"value": "peer", "url": "http://proxy.example.org:3128"})
    clocks = root.post("/settings/ntp_upstreams", {"value": "192.0.2.9 192.0.2.8", "external_only": "on"})
    assert 303 == root.post("/settings/rack_keys", {"value": "90"}).status_code
    shown = root.get("/settings").text

    assert "omapi days 90" in shown
    assert "needs the URL" in wrong.text
    assert (422, 303, 303) == (wrong.status_code, answer.status_code, clocks.status_code)
    assert "peer http://proxy.example.org:3128" in shown
    assert "192.0.2.9, 192.0.2.8 (machines are told only these)" in shown
