"""A real Kea, rendered from the golden case `dhcp`, asked by clients of every kind it tells apart."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import dhcp_client, namespace
from renderers import registry
from renderers.intent import RackIntent
from renderers.kea import hosts_path
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.golden.case import load
from workers.rack.probes.base import ProbeResult
from workers.rack.probing import Prober

MAC, KNOWN, STRANGER = "52:54:00:21:00:01", "52:54:00:21:00:02", "52:54:00:21:00:03"
RELAY = ("10.30.0.254", "10.20.0.1")


class Rack:
    """The running server and its clients' namespace."""

    def __init__(self, intent: RackIntent, inside: str) -> None:
        self.intent = intent
        self.inside = inside

    def lease(self, interface: str, mac: str, **words: Any) -> dhcp_client.Lease:
        """Ask as a client on one of the VLANs."""
        return namespace.inside(f"{self.inside}-c", lambda: dhcp_client.discover_and_request(interface, mac, **words))

    def probe(self) -> tuple[ProbeResult, ...]:
        """The rack's own probes of it."""
        prober = Prober(Path(self.intent.layout.root), self.intent.rack_name)
        specs = registry.service("kea4").probes(self.intent)
        return namespace.inside(self.inside, lambda: prober.ask_once("kea4", specs))


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    """VLANs 1 (end0) and 2 (end1), and VLAN 3 behind a relay agent with an address on each side."""
    require("ip", "kea-dhcp4")
    with rack_directory() as root:
        intent = at(load("dhcp"), root)
        with network_of(intent, f"mk-{os.getpid()}") as inside:
            namespace.batch(f"{inside}-c", ["addr add 10.20.0.50/24 dev end0", "addr add 10.30.0.254/23 dev lo"])
            namespace.batch(inside, ["route add 10.30.0.0/23 via 10.20.0.50"])
            hosts = Path(hosts_path(intent, "kea4", 2))
            hosts.parent.mkdir(parents=True)
            hosts.write_text(f'{{"hw-address": "{KNOWN}", "hostname": "known"}}')
            with running(registry.service("kea4"), intent, inside):
                made = Rack(intent, inside)
                eventually(lambda: made.lease("end0", MAC))
                yield made


def seconds(lease: dhcp_client.Lease) -> int:
    """The lease time (option 51)."""
    return int.from_bytes(lease.options[51])


def test_routes_go_with_the_default_route_and_the_better_metric_wins(rack: Rack) -> None:
    """Option 121 holds each destination once and the default route, which its readers take from nowhere else."""
    options = rack.lease("end0", MAC).options

    assert options[121].hex() == "000a1400fe" + "100a630a1400fc" + "19ac1005800a1400fd"
    assert options[3] == bytes([10, 20, 0, 254])


def test_a_client_of_a_switched_off_architecture_gets_an_address_and_no_boot_file(rack: Rack) -> None:
    """BIOS firmware and iPXE on it get none where BIOS is off; UEFI and iPXE on it get theirs."""
    asked = {
        "bios": {"architecture": 0x0000},
        "bios ipxe": {"architecture": 0x0000, "user_class": "iPXE"},
        "uefi": {"architecture": 0x0007},
        "uefi ipxe": {"architecture": 0x0007, "user_class": "iPXE"},
    }
    leases = {name: rack.lease("end0", MAC, **words) for name, words in asked.items()}

    assert {
        "bios": "",
        "bios ipxe": "",
        "uefi": "snponly.efi",
        "uefi ipxe": "http://10.20.0.1:5248/boot/v1/start.ipxe",
    } == {name: lease.boot_file for name, lease in leases.items()}
    assert {"10.20.0.100"} == {lease.address for lease in leases.values()}


def test_boot_leases_differ_by_vlan_and_ipxe_keeps_its_own(rack: Rack) -> None:
    """Firmware has its VLAN's boot lease, iPXE outlasts a commissioning and every lease, a system has its subnet's."""
    firmware = rack.lease("end0", MAC, architecture=0x0007)
    ipxe = rack.lease("end0", MAC, architecture=0x0007, user_class="iPXE")
    system = rack.lease("end0", MAC, architecture=0x0006, vendor_class="linux")
    known = rack.lease("end1", KNOWN, architecture=0x0007)
    relayed = rack.lease("end0", STRANGER, architecture=0x0007, relay=RELAY)

    assert (60, 7200, 600, 300, 120) == tuple(map(seconds, (firmware, ipxe, system, known, relayed)))


def test_unknown_clients_hear_nothing_where_they_are_ignored(rack: Rack) -> None:
    """A client with a host record gets an address of the pool, a stranger silence; the rack's probe takes that as right."""
    known = rack.lease("end1", KNOWN)
    with pytest.raises(dhcp_client.DhcpFailed):
        rack.lease("end1", STRANGER, tries=1)
    silent = rack.probe()[1]

    assert ("10.21.0.100", struct.pack("!H", 9000)) == (known.address, known.options[26])
    assert (("10.21.0.53", "10.21.0.54"), ("10.21.0.123",)) == (known.addresses(6), known.addresses(42))
    assert silent.ok
    assert "the question arrived" in silent.detail


def test_a_relayed_vlan_is_served_by_the_agents_address(rack: Rack) -> None:
    """A relayed question gets an address of the subnet that the agent is in; one without an agent never does."""
    lease = rack.lease("end0", STRANGER, relay=RELAY)
    probes = rack.probe()

    assert ("10.30.0.100", "10.20.0.1", "", 23) == (lease.address, lease.server, lease.boot_file, lease.prefix_length)
    assert ("10.30.0.254",) == lease.addresses(3)
    assert [True, True, True] == [result.ok for result in probes], [result.detail for result in probes]
    assert "10.20.0.1 offers 10.30.0." in probes[2].detail
