"""Devices: listed, looked at, added with an address, changed and forgotten."""

from __future__ import annotations

from app.services import devices
from app.services.context import Context
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser, checked
from tests.web.test_hostile import BAD

MAC = "52:54:00:bb:00:01"


def test_a_devices_life(context: Context, seeded: Seeded, alice: Browser) -> None:
    """A device gets an address and a name, is shown with them and on its subnet's page, changed and forgotten."""
    make_machine(context, seeded, "node-1")
    form = {
        "hostname": "pdu-1",
        "domain": "",
        "mac": MAC,
        "subnet_id": str(seeded.subnet_id),
        "address": "",
        "description": BAD,
    }
    refused = checked(alice.post("/devices/new", {**form, "address": "10.99.0.1"}), 422)
    assert "10.99.0.1" in refused.one("div", id="field-address-wrong").text
    assert [] == devices.find(context)
    made = alice.post("/devices/new", form).location
    row = devices.get(context, "pdu-1")
    address = row.interfaces[0].addresses[0].address
    page = alice.page(made)
    assert f"eth0 {MAC} {address} 10.20.0.0/24" in page.one("table", id="interfaces").text
    assert row.fqdn in page.one("section", id="card-device").text
    assert BAD in page.one("main").text
    assert page.one("div", id="columns").text == alice.part(made).one("div", id="columns").text
    listed = alice.page("/devices?text=PDU").one("table", id="devices").text
    assert f"pdu-1 {row.domain.name} {address} {MAC}" in listed
    assert BAD in listed
    assert "No device is like that." in alice.page("/devices?text=who").one("table", id="devices").text
    used = alice.page(f"/subnets/{seeded.subnet_id}")
    assert made in [one.attributes["href"] for one in used.all("a", class_="cell")]
    assert f"{address} device pdu-1" in used.one("table", id="used").text

    assert made == alice.post(f"{made}/edit", {"hostname": "pdu-2", "parent": "node-1"}).location
    assert "node-1" == alice.page(made).one("a", id="to-parent").text
    assert 422 == alice.post(f"{made}/edit", {"hostname": "pdu-2", "parent": "who"}).status_code
    assert "/devices" == alice.post(f"{made}/delete").location
    assert [] == devices.find(context)


def test_who_may(context: Context, alice: Browser, vera: Browser) -> None:
    """Viewers look, operators change; a form without its CSRF token does nothing."""
    row = devices.create(context, "pdu-1", interfaces=[{"mac": MAC}])
    page = vera.page(f"/devices/{row.id}")
    assert [] == page.all("a", id="to-delete")
    for path in ("/devices/new", f"/devices/{row.id}/edit", f"/devices/{row.id}/delete"):
        assert [403, 200] == [vera.get(path).status_code, alice.get(path).status_code], path
        assert [403, 403] == [vera.post(path).status_code, alice.post(path, csrf="wrong").status_code], path
    assert 1 == len(devices.find(context))
