"""A rack changes from Kea to ISC dhcpd and back: clients keep their addresses, and a failure puts the old server back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import dhcp_client, namespace
from renderers import registry
from renderers.bundle import Bundle
from tests.daemons.rack_host import MAC, RACK
from tests.daemons.rack_root import at, eventually, network_of, rack_directory
from tests.daemons.requires import require
from tests.daemons.test_rack_apply import Host
from tests.factories.fake_control_plane import FakeControlPlane
from tests.golden.case import load

OTHER, HELD = "52:54:00:20:00:21", "52:54:00:20:00:22"


@pytest.fixture
def host() -> Iterator[Host]:
    """A rack host with DHCP and nothing else, enrolled and up."""
    require("ip", "kea-dhcp4", "dhcpd")
    with rack_directory() as directory:
        intent = at(load("lab"), directory)
        vlan = intent.vlans[0]
        subnets = tuple(subnet for subnet in vlan.subnets if subnet.family == 4)
        intent = replace(intent, zones=(), vlans=(replace(vlan, subnets=subnets, router_advertisements=False),))
        with network_of(intent, f"sw-{os.getpid()}") as inside:
            namespace.batch(f"{inside}-c", [f"link set end0 address {MAC}"])
            plane = FakeControlPlane(rack=intent.rack_name).start(port=5240, namespace=inside)
            rack = Host(Path(directory), intent, inside, plane=plane)
            try:
                rack.enrol(plane.url, plane.code)
                rack.boot()
                yield rack
            finally:
                rack.show_logs()
                rack.halt()
                plane.stop()


def lease(host: Host, mac: str) -> str:
    """The address that a machine takes."""
    return namespace.inside(f"{host.inside}-c", lambda: dhcp_client.discover_and_request("end0", mac)).address


def test_a_rack_changes_its_server_and_its_clients_keep_their_addresses(host: Host) -> None:
    """Both ways, hosts included; a server that does not come up leaves the old one serving."""
    vlan, dhcpd = host.intent.vlans[0], replace(host.intent, dhcp_server="dhcpd")
    key = f"host:{vlan.subnets[0].subnet_id}:{HELD}"
    value = {"subnet_id": vlan.subnets[0].subnet_id, "mac": HELD, "address": "10.20.0.77", "hostname": "n1"}
    host.plane.add_record(f"vlan:{vlan.vlan_id}", key, value)
    host.apply(host.intent)
    # The second of two machines: whoever starts from nothing would give it the first address.
    first, second = lease(host, MAC), lease(host, OTHER)

    assert first != second
    eventually(lambda: _equal("10.20.0.77", host.discover(HELD).address), 20)

    # A server that cannot start: its checker says so, and Kea serves again.
    broken = registry.service("dhcpd").render(dhcpd)
    bad = tuple(
        replace(file, text=file.text + "subnet nonsense {\n") if file.path == "dhcpd.conf" else file
        for file in broken.files
    )
    refused = host.apply(dhcpd, (Bundle("dhcpd", bad),))["dhcpd"]

    assert ("failed", True) == (refused["outcome"], "kea4 serves again" in refused["reason"])
    assert second == eventually(lambda: lease(host, OTHER), 20)

    there = host.apply(dhcpd)

    assert ("kept", "kept") == (there["dhcpd"]["outcome"], there["kea4"]["outcome"]), there
    assert (None, True) == (host.units.pid("kea4"), host.units.is_running("dhcpd"))
    assert (second, first) == (lease(host, OTHER), lease(host, MAC))
    assert "10.20.0.77" == host.discover(HELD).address
    assert RACK == host.discover().server

    back = host.apply(host.intent)

    assert ("kept", "kept") == (back["kea4"]["outcome"], back["dhcpd"]["outcome"]), back
    assert (second, first) == (lease(host, OTHER), lease(host, MAC))
    assert "10.20.0.77" == host.discover(HELD).address
    assert {MAC, OTHER} <= {item["hw-address"] for item in host.kea.leases()}


def _equal(expected: object, actual: object) -> None:
    assert expected == actual
