"""A subnet's page and what hangs on it: reservations, routes, all its settings, machines on an old gateway; spaces."""

from __future__ import annotations

from app.services import ranges, reservations, routes, spaces, subnets, vlans
from app.services.context import Context
from app.store.models import InstalledGateway, InstalledName, InstalledRoute
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.test_hostile import BAD

MAC = "52:54:00:aa:00:01"


def test_reservations(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A promise is made, shown with its DNS name and on the map, changed and taken back."""
    path = f"/subnets/{seeded.subnet_id}"
    words = {"address": "10.20.0.30", "mac": MAC, "hostname": "printer", "comment": BAD}
    assert path == alice.post(f"{path}/reservations/new", words).location
    page = alice.page(path)
    card = page.one("section", id="card-reservations").text
    (row,) = reservations.find(context)
    assert f"10.20.0.30 for {MAC}" in card
    assert f"printer.{subnets.get(context, seeded.subnet_id).domain.name}" in card
    assert BAD in card
    assert f"/domains/{seeded.domain_id}" == page.one("a", id=f"name-{row.id}").attributes["href"]
    assert (
        "10.20.0.30: printer (promised to a MAC address)" == page.all("span", class_="promised")[0].attributes["title"]
    )

    taken = checked(alice.post(f"{path}/reservations/new", {**words, "mac": "52:54:00:aa:00:02"}), 409)
    assert MAC in taken.one("div", id="field-address-wrong").text
    assert path == alice.post(f"/reservations/{row.id}/edit", {**words, "address": "10.20.0.31"}).location
    assert "10.20.0.31" == reservations.get(context, row.id).address
    assert path == alice.post(f"/reservations/{row.id}/delete").location
    assert "No address is promised" in alice.page(path).one("section", id="card-reservations").text


def test_routes(context: Context, seeded: Seeded, root: Browser) -> None:
    """A route is made and shown at both its ends; a gateway outside is refused with rule and remedy at its field."""
    other = subnets.create(context, "10.70.0.0/24", seeded.vlan_id)
    path = f"/subnets/{seeded.subnet_id}"
    words = {"destination_id": str(other.id), "gateway": "10.70.0.1", "metric": "5"}
    page = checked(root.post(f"{path}/routes/new", words), 422)
    assert "Rule: the gateway lies in the source subnet" in page.one("div", id="field-gateway-wrong").text
    assert path == root.post(f"{path}/routes/new", {**words, "gateway": "10.20.0.254"}).location
    (row,) = routes.find(context)
    assert "to 10.70.0.0/24 through 10.20.0.254 metric 5" in root.page(path).one("section", id="card-routes").text
    assert "from 10.20.0.0/24" in root.page(f"/subnets/{other.id}").one("section", id="card-routes").text
    assert path == root.post(f"/routes/{row.id}/edit", {**words, "gateway": "10.20.0.253"}).location
    assert "10.20.0.253" == routes.get(context, row.id).gateway
    assert path == root.post(f"/routes/{row.id}/delete").location
    assert [] == routes.find(context)


def test_every_setting(context: Context, seeded: Seeded, root: Browser) -> None:
    """The form shows what is, and all of it can be changed; saved as it is shown, it changes nothing."""
    path = f"/subnets/{seeded.subnet_id}"
    page = root.page(f"{path}/edit")
    shown = {one.attributes["name"] for one in page.all("input", type="checkbox") if "checked" in one.attributes}
    assert {"managed", "allow_dns", "allow_proxy", "boot.bios", "boot.uefi-x64", "boot.uefi-http"} == shown
    words = {
        "name": "hall", "description": BAD, "vlan_id": str(seeded.vlan_id), "domain_id": str(seeded.domain_id),
        "gateway": "10.20.0.254", "reverse_dns": "off", "lease_seconds": "700", "boot_lease_seconds": "90",
        "unknown_clients": "ignore", "managed": "on", "boot.bios": "on",
    }  # fmt: skip
    assert path == root.post(f"{path}/edit", words).location
    row = subnets.get(context, seeded.subnet_id)
    assert ["off", 90, "ignore", False, False, ["uefi-x64", "uefi-http"]] == [
        row.reverse_dns, row.boot_lease_seconds, row.unknown_clients, row.allow_dns, row.allow_proxy,
        row.disabled_boot_architectures,
    ]  # fmt: skip
    text = root.page(path).one("main").text
    assert all(word in text for word in (BAD, "90 s while booting", "are ignored", "neither DNS nor proxy", "uefi-x64"))
    refused = checked(root.post(f"{path}/edit", {**words, "slaac": "on"}), 422)
    assert "Rule: slaac needs an IPv6 /64" in refused.one("div", id="field-slaac-wrong").text
    refused = checked(root.post(f"{path}/edit", {**words, "boot_lease_seconds": "5"}), 422)
    assert "Rule: 60 <= lease" in refused.one("div", id="field-boot_lease_seconds-wrong").text


def test_machines_on_an_old_gateway(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Deployed machines that still send through the old gateway are named; without one nothing is said."""
    path = f"/subnets/{seeded.subnet_id}"
    assert [] == vera.page(path).all("section", id="card-stale")
    machine = make_machine(context, seeded, "old-1", state="DEPLOYED")
    with context.store.write() as session:
        session.add(
            InstalledGateway(machine_id=machine, subnet_id=seeded.subnet_id, interface="eth0", gateway="10.20.0.99",
                             at=context.clock())
        )  # fmt: skip

    assert "old-1 sends through 10.20.0.99 on eth0" in vera.page(path).one("section", id="card-stale").text


def test_machines_on_old_routes(context: Context, seeded: Seeded, vera: Browser) -> None:
    """Deployed machines that keep a route of before are named; without one nothing is said."""
    path = f"/subnets/{seeded.subnet_id}"
    assert [] == vera.page(path).all("section", id="card-stale-routes")
    machine = make_machine(context, seeded, "old-1", state="DEPLOYED")
    with context.store.write() as session:
        session.add(InstalledName(machine_id=machine, name="old-1.lab.muster", at=context.clock()))
        session.add(
            InstalledRoute(machine_id=machine, subnet_id=seeded.subnet_id, interface="eth0", destination="10.64.0.0/16",
                           gateway="10.20.0.99", metric=5)
        )  # fmt: skip

    words = vera.page(path).one("section", id="card-stale-routes").text
    assert "old-1 keeps 10.64.0.0/16 through 10.20.0.99 metric 5" in words


def test_a_pool_is_drawn(context: Context, seeded: Seeded, vera: Browser) -> None:
    """A pool for machines has cells of its own."""
    ranges.create(context, seeded.subnet_id, kind="static_pool", start="10.20.0.40", end="10.20.0.49")

    page = vera.page(f"/subnets/{seeded.subnet_id}")

    assert 10 == len([one for one in page.all("span", class_="static_pool") if "title" in one.attributes])


def test_spaces_and_vlans(context: Context, seeded: Seeded, root: Browser, vera: Browser) -> None:
    """Spaces are made and joined by VLANs; the tree shows them, relays, and a space without a subnet."""
    assert 303 == root.post("/spaces/new", {"name": "prod", "description": BAD}).status_code
    assert 303 == root.post("/spaces/new", {"name": "empty"}).status_code
    words = {
        "fabric_id": str(seeded.fabric_id),
        "vid": "77",
        "name": "far",
        "relay_vlan_id": str(seeded.vlan_id),
        "space_id": "1",
    }
    assert 303 == root.post("/vlans/new", words).status_code
    (far,) = vlans.find(context, vid=77)
    subnets.create(context, "10.77.0.0/24", far.id)
    page = vera.page("/networks")
    table = page.one("table", id="spaces").text
    assert "prod 1 1 " in table
    assert "empty 0 0 no subnet" in table
    assert BAD in table
    assert "space prod" in page.one("main").text
    assert "relayed to" in page.one("main").text
    assert 1 == len(page.one("table", id="spaces").text.split("no subnet")) - 1
    assert 303 == root.post("/spaces/2/edit", {"name": "vast"}).status_code
    assert 303 == root.post("/spaces/2/delete").status_code
    assert ["prod"] == [one.name for one in spaces.find(context)]
    refused = checked(root.post("/spaces/1/delete"), 409)
    assert "Rule: a space in use stays" in refused.one("div", id="refused").text

    path = f"/vlans/{far.id}/edit"
    form = {
        "name": "far",
        "vid": "77",
        "mtu": "1500",
        "relay_vlan_id": "",
        "space_id": "",
        "secondary_rack_id": str(seeded.rack_id),
    }
    refused = checked(root.post(path, form), 409)
    assert "Rule: a secondary stands beside a primary" in refused.one("div", id="field-secondary_rack_id-wrong").text
    assert 303 == root.post(path, {**form, "secondary_rack_id": ""}).status_code
    assert [None, None] == [vlans.get(context, far.id).relay_vlan_id, vlans.get(context, far.id).space_id]


def test_who_may(context: Context, seeded: Seeded, alice: Browser, vera: Browser) -> None:
    """Operators reserve, administrators route and set up spaces; viewers see."""
    row = reservations.create(context, "10.20.0.30", MAC)
    path = f"/subnets/{seeded.subnet_id}"
    for one in (f"{path}/routes/new", "/spaces/new"):
        assert 403 == alice.get(one).status_code
    for one in (f"{path}/reservations/new", f"/reservations/{row.id}/edit", f"/reservations/{row.id}/delete"):
        assert [403, 200] == [vera.get(one).status_code, alice.get(one).status_code]
        assert 403 == vera.post(one).status_code
    assert [] == vera.page(path).all("a", id=f"reservation-delete-{row.id}")
