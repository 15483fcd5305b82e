"""Subnets' settings, ranges, reservations, routes, devices and links, through the API."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.services.context import Context
from app.store.models import Interface, RecordChange
from tests.api.conftest import Caller
from tests.factories.control import Seeded, make_machine

MAC = "52:54:00:aa:00:01"


def live(context: Context, scope: str) -> dict[str, object]:
    """The records of a scope that are there now: key to address or rdatas."""
    found: dict[str, object] = {}
    with context.store.read() as session:
        rows = session.scalars(select(RecordChange).where(RecordChange.scope == scope).order_by(RecordChange.sequence))
        for row in rows:
            found.pop(row.key, None)
            if row.value is not None:
                found[row.key] = row.value.get("address") or row.value["rdatas"]
    return found


def test_a_subnet_has_all_its_settings(admin: Caller, seeded: Seeded) -> None:
    """What is set is shown; what is not known is refused with what is."""
    words = {
        "description": "by the door", "boot_lease_seconds": 90, "reverse_dns": "on", "allow_dns": False,
        "allow_proxy": False, "disabled_boot_architectures": ["uefi-http", "bios"], "unknown_clients": "ignore",
    }  # fmt: skip
    made = admin.post("/subnets", {"cidr": "10.31.0.0/24", "vlan_id": seeded.vlan_id, **words}).get_json()
    wrong = admin("PATCH", f"/subnets/{made['id']}", {"reverse_dns": "maybe"})

    six = {"cidr": "2001:db8:31::/64", "vlan_id": seeded.vlan_id, "slaac": True}
    assert admin.post("/subnets", six).get_json()["slaac"]
    for cidr in ("2001:db8:32::/56", "10.32.0.0/24"):
        refused = admin.post("/subnets", six | {"cidr": cidr})
        assert 422 == refused.status_code
        assert "slaac needs an IPv6 /64" in refused.get_data(as_text=True)
    assert words | {"disabled_boot_architectures": ["bios", "uefi-http"]} == {name: made[name] for name in words}
    assert 422 == wrong.status_code
    assert "rfc2317" in wrong.get_data(as_text=True)


def test_a_reservation_lives_in_dhcp_and_dns(operator: Caller, context: Context, seeded: Seeded) -> None:
    """It is made, found by its MAC, moved and deleted, and its records follow each time."""
    scope = f"vlan:{seeded.vlan_id}"
    made = operator.post(
        "/reservations", {"address": "10.20.0.9", "mac": MAC.upper(), "hostname": "Printer"}
    ).get_json()
    first = live(context, scope), live(context, "zone:lab.muster")
    moved = operator("PATCH", f"/reservations/{made['id']}", {"address": "10.20.0.150", "comment": "moved"}).get_json()
    second = live(context, scope), live(context, "zone:0.20.10.in-addr.arpa")
    found = operator.get(f"/reservations?mac={MAC}").get_json()["items"]
    gone = operator("DELETE", f"/reservations/{made['id']}")

    key = f"host:{seeded.subnet_id}:{MAC}"
    assert ("10.20.0.9", MAC, "printer") == (made["address"], made["mac"], made["hostname"])
    assert ({key: "10.20.0.9"}, {"rrset:printer.lab.muster.:A": ["10.20.0.9"]}) == first
    # Kea keeps an address inside a dynamic range for its MAC.
    assert "10.20.0.150" == moved["address"]
    assert second == (
        {key: "10.20.0.150"},
        {"rrset:150.0.20.10.in-addr.arpa.:PTR": ["printer.lab.muster."]},
    )
    assert [moved] == found
    assert 204 == gone.status_code
    assert {} == live(context, scope) == live(context, "zone:lab.muster")


def test_reservations_are_imported_whole_or_not_at_all(operator: Caller, seeded: Seeded) -> None:
    """A second import changes nothing; a row that is in the way is named, and nothing is made."""
    rows = [{"address": f"10.20.0.{n}", "mac": f"52:54:00:aa:00:{n:02x}", "hostname": f"r{n}"} for n in range(10, 20)]
    first = operator.post("/reservations/import", {"reservations": rows}).get_json()
    again = operator.post("/reservations/import", {"reservations": rows}).get_json()
    more = [{"address": "10.20.0.30", "mac": MAC}, {"address": "10.20.0.12", "mac": "52:54:00:aa:01:00"}]
    refused = operator.post("/reservations/import", {"reservations": more})

    assert [{"created": 10, "unchanged": 0}, {"created": 0, "unchanged": 10}] == [first, again]
    assert 409 == refused.status_code
    assert all(word in refused.get_data(as_text=True) for word in ("row 2", "10.20.0.12", "52:54:00:aa:00:0c"))
    assert [] == operator.get(f"/reservations?mac={MAC}").get_json()["items"]


def test_a_route_is_stated_once(admin: Caller, seeded: Seeded) -> None:
    """It shows both subnets; the same again, a gateway outside and another family are refused."""
    other = admin.post("/subnets", {"cidr": "10.32.0.0/24", "vlan_id": seeded.vlan_id}).get_json()
    six = admin.post("/subnets", {"cidr": "2001:db8:1::/64", "vlan_id": seeded.vlan_id}).get_json()
    body = {"source_id": seeded.subnet_id, "destination_id": other["id"], "gateway": "10.20.0.254", "metric": 5}
    route = admin.post("/routes", body).get_json()
    wrong = [
        admin.post("/routes", body),
        admin.post("/routes", body | {"gateway": "10.32.0.1"}),
        admin.post("/routes", body | {"destination_id": six["id"]}),
        admin.post("/routes", body | {"destination_id": seeded.subnet_id}),
        admin("DELETE", f"/subnets/{other['id']}"),
    ]
    changed = admin("PATCH", f"/routes/{route['id']}", {"metric": 7}).get_json()

    assert ("10.20.0.0/24", "10.32.0.0/24", 5) == (route["source"], route["destination"], route["metric"])
    assert [409, 422, 422, 422, 409] == [answer.status_code for answer in wrong]
    assert 7 == changed["metric"]
    assert [changed] == admin.get(f"/routes?subnet_id={other['id']}").get_json()["items"]
    assert 204 == admin("DELETE", f"/routes/{route['id']}").status_code


def test_a_device_has_addresses_and_names(operator: Caller, context: Context, seeded: Seeded) -> None:
    """Its own name has its first interface's address, every other interface a name below it; all go with the device."""
    links = [{"subnet_id": seeded.subnet_id, "mode": "auto"}]
    static = [{"subnet_id": seeded.subnet_id, "mode": "static", "address": "10.20.0.77"}]
    body = {
        "hostname": "switch-1",
        "interfaces": [{"mac": MAC, "links": links}, {"mac": "52:54:00:aa:00:02", "name": "mgmt.1", "links": static}],
    }
    made = operator.post("/devices", body).get_json()
    zone = live(context, "zone:lab.muster")
    renamed = operator("PATCH", "/devices/switch-1", {"hostname": "core"}).get_json()
    after = live(context, "zone:lab.muster")
    deleted = operator("DELETE", f"/devices/{made['id']}")

    assert "core.lab.muster" == renamed["fqdn"]
    own = made["interfaces"][0]["addresses"][0]["address"]
    assert {"rrset:switch-1.lab.muster.:A": [own], "rrset:mgmt-1.switch-1.lab.muster.:A": ["10.20.0.77"]} == zone
    assert {"rrset:core.lab.muster.:A": [own], "rrset:mgmt-1.core.lab.muster.:A": ["10.20.0.77"]} == after
    assert 204 == deleted.status_code
    assert {} == live(context, "zone:lab.muster") == live(context, f"vlan:{seeded.vlan_id}")
    assert [] == operator.get("/addresses").get_json()["items"]


@pytest.mark.parametrize(("mode", "address"), [("sticky", None), ("static", "10.20.0.60")])
def test_a_machines_interface_is_linked(
    operator: Caller, context: Context, seeded: Seeded, mode: str, address: str | None
) -> None:
    """It has its address at once, in DHCP and DNS, and loses it with the link."""
    machine_id = make_machine(context, seeded, "web1")
    with context.store.read() as session:
        interface_id = session.scalars(select(Interface.id).where(Interface.machine_id == machine_id)).one()
    path = f"/interfaces/{interface_id}/links/{seeded.subnet_id}"
    linked = operator("PUT", path, {"mode": mode, "address": address}).get_json()
    names = live(context, "zone:lab.muster")
    wrong = operator("PUT", path, {"mode": "static", "address": "10.20.0.150"})
    gone = operator("DELETE", path)

    assert [mode] == [one["kind"] for one in linked["addresses"]] == [one["mode"] for one in linked["links"]]
    assert {"rrset:web1.lab.muster.:A": [linked["addresses"][0]["address"]]} == names
    assert address in (None, linked["addresses"][0]["address"])
    assert 409 == wrong.status_code
    assert 204 == gone.status_code
    assert {} == live(context, "zone:lab.muster")
