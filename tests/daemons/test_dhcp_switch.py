"""A rack changes from Kea to ISC dhcpd and back: clients keep their addresses, and a failure puts the old server back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import dhcp_client, namespace
from renderers import registry
from renderers.bundle import Bundle
from renderers.services import dhcpd
from tests.daemons.rack_host import MAC, RACK
from tests.daemons.rack_root import at, eventually, network_of, rack_directory
from tests.daemons.requires import require
from tests.daemons.test_rack_apply import Host
from tests.factories.fake_control_plane import FakeControlPlane
from tests.golden.case import load
from workers.rack.apply import Applier
from workers.rack.omapi import Omapi, OmapiDown, OmapiRefused, number
from workers.rack.omapi_key import OmapiKey
from workers.rack.probing import Prober
from workers.rack.secret_files import SecretFiles

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
    vlan, other = host.intent.vlans[0], replace(host.intent, dhcp_server="dhcpd")
    key = f"host:{vlan.subnets[0].subnet_id}:{HELD}"
    value = {"subnet_id": vlan.subnets[0].subnet_id, "mac": HELD, "address": "10.20.0.77", "hostname": "n1"}
    host.plane.add_record(f"vlan:{vlan.vlan_id}", key, value)
    host.apply(host.intent)
    # The second of two machines: whoever starts from nothing would give it the first address.
    first, second = lease(host, MAC), lease(host, OTHER)

    assert first != second
    eventually(lambda: _equal("10.20.0.77", host.discover(HELD).address), 20)

    # A server that cannot start: its checker says so, and Kea serves again.
    broken = registry.service("dhcpd").render(other)
    bad = tuple(
        replace(file, text=file.text + "subnet nonsense {\n") if file.path == "dhcpd.conf" else file
        for file in broken.files
    )
    refused = host.apply(other, (Bundle("dhcpd", bad),))["dhcpd"]

    assert ("failed", True) == (refused["outcome"], "kea4 serves again" in refused["reason"])
    assert "dhcpd.conf line " in refused["reason"]
    assert second == eventually(lambda: lease(host, OTHER), 20)

    there = host.apply(other)

    assert ("kept", "kept") == (there["dhcpd"]["outcome"], there["kea4"]["outcome"]), there
    assert (None, True) == (host.units.pid("kea4"), host.units.is_running("dhcpd"))
    assert (second, first) == (lease(host, OTHER), lease(host, MAC))
    assert "10.20.0.77" == host.discover(HELD).address
    assert RACK == host.discover().server

    check_new_key(host, key, value)

    back = host.apply(host.intent)

    assert ("kept", "kept") == (back["kea4"]["outcome"], back["dhcpd"]["outcome"]), back
    assert (second, first) == (lease(host, OTHER), lease(host, MAC))
    assert "10.20.0.77" == host.discover(HELD).address
    assert {MAC, OTHER} <= {item["hw-address"] for item in host.kea.leases()}
    # The agent answers beside its turns.
    assert {"ended": True} == host.plane.ask("end-lease", address=second, mac=OTHER)["answer"]
    assert OTHER not in {item["hw-address"] for item in host.kea.leases()}
    assert "ISC dhcpd does not serve here" == host.plane.ask("new-omapi-key")["reason"]


def check_new_key(host: Host, key: str, value: dict[str, object]) -> None:
    """A new key is made on the rack: the old one is refused, hosts go on being changed live, nobody is told the key."""
    path = host.root / "secrets" / "omapi"
    old, scope = path.read_text(), f"vlan:{host.intent.vlans[0].vlan_id}"
    answer = host.plane.ask("new-omapi-key")

    assert answer["reason"] is None, answer
    assert 0 < answer["answer"]["gap"] < 10
    new = path.read_text()
    assert (0o600, True, False) == (path.stat().st_mode & 0o777, new != old, (path.parent / "omapi-before").exists())
    port = host.intent.ports.omapi

    def use_the_old_key() -> None:
        with Omapi(port, dhcpd.KEY, old) as omapi:
            mac = bytes.fromhex("525400200099")
            omapi.create("host", {b"name": b"intruder", b"hardware-address": mac, b"hardware-type": number(1)})

    with pytest.raises((OmapiDown, OmapiRefused)):
        namespace.inside(host.inside, use_the_old_key)
    assert "intruder" not in (host.root / "services" / "dhcpd" / "state" / "dhcpd.leases").read_text()
    host.plane.add_record(scope, key, {**value, "address": "10.20.0.78"})
    eventually(lambda: _equal("10.20.0.78", host.discover(HELD).address), 20)
    host.plane.add_record(scope, key, value)
    eventually(lambda: _equal("10.20.0.77", host.discover(HELD).address), 20)
    told = json.dumps([host.plane.apply_reports, host.plane.observations, host.plane.answers])
    logs = "".join(path.read_text(errors="replace") for path in (host.root / "log").glob("*.log"))
    assert not {old, new} & {word for word in (old, new) if word in told + logs}

    # An agent that ended in the middle finds the old key beside the new one; what dhcpd runs decides.
    (path.parent / "omapi-before").write_text(new)
    path.write_text("bm90IHRoZSBrZXkgb2YgYW55Ym9keQ==")
    applier = Applier(host.root, host.units, SecretFiles(host.root), Prober(host.root, "rack"), {})
    OmapiKey(applier, SecretFiles(host.root), lambda: None, lambda report: None).recover()

    assert (new, False) == (path.read_text(), (path.parent / "omapi-before").exists())


def _equal(expected: object, actual: object) -> None:
    assert expected == actual
