"""A real Kea and a real ISC dhcpd, rendered from the golden case `dhcp`, asked by clients of every kind they tell apart."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab import dhcp_client, namespace
from renderers import registry
from renderers.bundle import Bundle
from renderers.dhcp import kea_options
from renderers.dhcp.boot import IPXE_OPTION
from renderers.dhcp.options import parse
from renderers.intent import RackIntent, RackPorts
from renderers.kea import hosts_path
from renderers.services import dhcpd
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.factories.fake_control_plane import FakeControlPlane, offer_content
from tests.golden.case import load
from workers.rack.dhcpd_leases import HostEntry, render_host
from workers.rack.files import ServiceDirectories
from workers.rack.host_questions import ask4
from workers.rack.host_strategies.base import HostDaemon
from workers.rack.hosts import Host
from workers.rack.offer import Envelope
from workers.rack.probes.base import ProbeResult
from workers.rack.probing import Prober
from workers.rack.secret_files import SecretFiles

MAC, KNOWN, STRANGER = "52:54:00:21:00:01", "52:54:00:21:00:02", "52:54:00:21:00:03"
SPECIAL, PLAIN = "52:54:00:21:00:04", "52:54:00:21:00:05"
FAR = "52:54:00:21:00:08"
LOGS = parse("log-servers 10.20.0.94", "machine")[0]
RELAY = ("10.30.0.254", "10.20.0.1")


class Rack:
    """The running server and its clients' namespace."""

    def __init__(self, service: str, intent: RackIntent, inside: str) -> None:
        self.service = service
        self.intent = intent
        self.inside = inside

    def lease(self, interface: str, mac: str, **words: Any) -> dhcp_client.Lease:
        """Ask as a client on one of the VLANs."""
        return namespace.inside(f"{self.inside}-c", lambda: dhcp_client.discover_and_request(interface, mac, **words))

    def probe(self) -> tuple[ProbeResult, ...]:
        """The rack's own probes of it."""
        prober = Prober(Path(self.intent.layout.root), self.intent.rack_name)
        specs = registry.service(self.service).probes(self.intent)
        return namespace.inside(self.inside, lambda: prober.ask_once(self.service, specs))


@pytest.fixture(scope="module", params=("kea4", "dhcpd"))
def rack(request: pytest.FixtureRequest) -> Iterator[Rack]:
    """VLANs 1 (end0) and 2 (end1), and VLAN 3 behind a relay agent with an address on each side."""
    service = request.param
    require("ip", "dhcpd" if service == "dhcpd" else "kea-dhcp4")
    with rack_directory() as root:
        intent = replace(at(load("dhcp"), root), dhcp_server="dhcpd" if service == "dhcpd" else "kea")
        with network_of(intent, f"mk-{os.getpid()}") as inside:
            namespace.batch(f"{inside}-c", ["addr add 10.20.0.50/24 dev end0", "addr add 10.30.0.254/23 dev lo"])
            namespace.batch(inside, ["route add 10.30.0.0/23 via 10.20.0.50"])
            spec = registry.service(service)
            if service == "kea4":
                write_hosts(intent)
            else:
                spec = replace(spec, render=lambda intent: with_hosts(registry.service("dhcpd").render(intent)))
            with running(spec, intent, inside):
                made = Rack(service, intent, inside)
                eventually(lambda: made.lease("end0", MAC))
                yield made


kea_only = pytest.mark.parametrize("rack", ["kea4"], indirect=True)
"""For what the case says in Kea's own words."""


def write_hosts(intent: RackIntent) -> None:
    """The included files of the subnets."""
    option = kea_options.of(LOGS)
    hosts: dict[int, list[dict[str, Any]]] = {
        1: [
            {"hw-address": SPECIAL, "ip-address": "10.20.0.20", "option-data": [option]},
            {"hw-address": PLAIN, "ip-address": "10.20.0.21"},
        ],
        2: [{"hw-address": KNOWN, "hostname": "known"}],
        4: [{"hw-address": FAR, "ip-address": "10.30.0.20"}],
    }
    for subnet_id, entries in hosts.items():
        path = Path(hosts_path(intent, "kea4", subnet_id))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(",".join(map(json.dumps, entries)))


def with_hosts(bundle: Bundle) -> Bundle:
    """dhcpd's files, its leases with the same hosts; one that has no address is known all the same."""
    text = "".join(
        (
            render_host(HostEntry("special", SPECIAL, "10.20.0.20", None, (("log-servers", LOGS.data),), b"\7\1")),
            render_host(HostEntry("plain", PLAIN, "10.20.0.21")),
            render_host(HostEntry("far", FAR, "10.30.0.20")),
            f"host known {{\n  dynamic;\n  hardware ethernet {KNOWN};\n}}\n",
        )
    )
    files = (replace(file, text=text) if file.path == dhcpd.LEASES else file for file in bundle.files)
    return replace(bundle, files=tuple(files))


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
        "uefi of old": {"architecture": 0x0009},
        "uefi ipxe": {"architecture": 0x0007, "user_class": "iPXE"},
        "http": {"architecture": 0x0010, "vendor_class": "HTTPClient:Arch:00016"},
        "arm": {"architecture": 0x000B},
    }
    leases = {name: rack.lease("end0", MAC, **words) for name, words in asked.items()}

    assert {
        "bios": "",
        "bios ipxe": "",
        "uefi": "snponly.efi",
        "uefi of old": "snponly.efi",
        "uefi ipxe": "http://10.20.0.1:5248/boot/v1/start.ipxe",
        "http": "http://10.20.0.1:5248/images/loader/snponly.efi",
        "arm": "",
    } == {name: lease.boot_file for name, lease in leases.items()}
    assert b"HTTPClient" == leases["http"].options[60]
    assert "10.20.0.1" == leases["uefi"].next_server
    assert 1 == len({lease.address for lease in leases.values()})


def test_where_all_is_off_nothing_boots_and_where_nothing_is_everything_does(rack: Rack) -> None:
    """HTTP boot and iPXE included; every client gets its address all the same."""
    everything: tuple[dict[str, Any], ...] = (
        {"architecture": 0x0000},
        {"architecture": 0x0007},
        {"architecture": 0x0010, "vendor_class": "HTTPClient:Arch:00016"},
        {"architecture": 0x0007, "user_class": "iPXE"},
        {"architecture": 0x0000, "user_class": "iPXE"},
    )
    off = [rack.lease("end0", STRANGER, relay=RELAY, **words) for words in everything]
    on = [rack.lease("end1", KNOWN, **words) for words in everything]

    assert [""] * 5 == [lease.boot_file for lease in off]
    assert {True} == {lease.address.startswith("10.30.0.") for lease in off}
    start, loader = "http://10.21.0.1:5248/boot/v1/start.ipxe", "http://10.21.0.1:5248/images/loader/snponly.efi"
    assert ["undionly.kpxe", "snponly.efi", loader, start, start] == [lease.boot_file for lease in on]
    # Its own option tells iPXE, and nobody else, not to wait for a ProxyDHCP server beside this one.
    assert [None] * 3 + [bytes([176, 1, 1])] * 2 == [lease.options.get(IPXE_OPTION) for lease in on]


def test_boot_leases_differ_by_vlan_and_ipxe_keeps_its_own(rack: Rack) -> None:
    """Firmware has its VLAN's boot lease, iPXE outlasts a commissioning and every lease, a system has its subnet's."""
    firmware = rack.lease("end0", MAC, architecture=0x0007)
    ipxe = rack.lease("end0", MAC, architecture=0x0007, user_class="iPXE")
    system = rack.lease("end0", MAC, architecture=0x0006, vendor_class="linux")
    known = rack.lease("end1", KNOWN, architecture=0x0007)
    relayed = rack.lease("end0", STRANGER, architecture=0x0007, relay=RELAY)

    # Kea's classes know the VLAN, in which the longest counts; dhcpd's conditions are the subnet's own.
    booting = 300 if rack.service == "kea4" else 120
    own = 7200 if rack.service == "kea4" else 3600

    assert (60, own, 600, booting, 120) == tuple(map(seconds, (firmware, ipxe, system, known, relayed)))


def test_unknown_clients_hear_nothing_where_they_are_ignored(rack: Rack) -> None:
    """A client with a host record gets an address of the pool, a stranger silence; the rack's probe takes that as right."""
    known = rack.lease("end1", KNOWN)
    with pytest.raises(dhcp_client.DhcpFailed):
        rack.lease("end1", STRANGER, tries=1)

    assert ("10.21.0.100", struct.pack("!H", 9000)) == (known.address, known.options[26])
    assert ("10.21.0.53", "10.21.0.54") == known.addresses(6)
    if rack.service == "kea4":
        silent = rack.probe()[1]

        assert silent.ok
        assert "the question arrived" in silent.detail


def test_a_relayed_vlan_is_served_by_the_agents_address(rack: Rack) -> None:
    """A relayed question gets an address of the subnet that the agent is in; one without an agent never does."""
    lease = rack.lease("end0", STRANGER, relay=RELAY)
    probes = rack.probe()

    assert ("10.30.0.100", "10.20.0.1", "", 23) == (lease.address, lease.server, lease.boot_file, lease.prefix_length)
    assert ("10.30.0.254",) == lease.addresses(3)
    assert {True} == {result.ok for result in probes}, [result.detail for result in probes]
    # dhcpd does not count what it hears, so it is not asked where silence may be right.
    assert (3 if rack.service == "kea4" else 1) == len(probes)
    assert rack.service == "dhcpd" or "10.20.0.1 offers 10.30.0." in probes[2].detail


def test_a_host_behind_a_relay_agent_is_checked_as_it_will_ask(rack: Rack) -> None:
    """The rack's own check of a host that was made live asks through an agent, and hears the promised address."""
    plane = FakeControlPlane(rack=rack.intent.rack_name)
    plane.set_offer(offer_content(rack.intent))
    assert plane.offer is not None
    offer = Envelope.from_data(plane.offer).open(plane.public_key, rack.intent.rack_name)
    directories = ServiceDirectories(Path(rack.intent.layout.root), rack.service)
    daemon = HostDaemon(rack.service, directories, SecretFiles(Path()), lambda _: ())
    seen = {
        subnet.subnet_id: namespace.inside(
            rack.inside,
            lambda mac=mac, subnet=subnet: ask4(daemon, Host(4, mac, "", None), subnet, offer, RackPorts()).address,
        )
        for mac, subnet in ((SPECIAL, offer.subnets[0]), (FAR, offer.subnets[-1]))
    }

    assert {1: "10.20.0.20", 4: "10.30.0.20"} == seen


@kea_only
def test_the_narrowest_scope_sets_an_option(rack: Rack) -> None:
    """Machine over range over subnet over VLAN over global over Muster's own, whether it is an option or Kea's JSON."""
    asked = {"machine": SPECIAL, "range": MAC, "subnet": PLAIN}
    leases = {name: rack.lease("end0", mac) for name, mac in asked.items()}
    leases["global"] = rack.lease("end1", KNOWN)
    logs = {name: lease.addresses(7) for name, lease in leases.items()}

    assert {
        "machine": ("10.20.0.94",), "range": ("10.20.0.93",), "subnet": ("10.20.0.92",), "global": ("10.20.0.90",)
    } == logs  # fmt: skip
    assert [("10.20.0.80",), ("10.20.0.80",), ("10.20.0.80",), ()] == [lease.addresses(71) for lease in leases.values()]
    assert {("10.20.0.99",)} == {lease.addresses(42) for lease in leases.values()}
    assert {b"Europe/Berlin"} == {lease.options[101] for lease in leases.values()}
    assert [b"\1\2", b"\1\2", b"\1\2", None] == [lease.options.get(224) for lease in leases.values()]


@kea_only
def test_a_range_may_be_for_one_class_of_clients(rack: Rack) -> None:
    """Members of the class that a snippet defines get its range and options, and nobody else."""
    phone = rack.lease("end0", "52:54:00:21:00:06", vendor_class="Phone 7", architecture=0x0006)

    assert ("10.20.0.200", b"phone.cfg") == (phone.address, phone.options[67])
    assert "10.20.0.200" != rack.lease("end0", "52:54:00:21:00:07").address
