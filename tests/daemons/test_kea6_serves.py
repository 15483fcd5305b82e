"""Kea's DHCPv6 server starts from its bundle and answers clients, relay agents and the probe as it should."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import namespace
from lab.dhcp6_client import UEFI_HTTP, UEFI_X64, Client6, Lease6
from renderers import registry
from renderers.intent import RackIntent
from renderers.kea import hosts_path
from renderers.services import kea6
from renderers.spec import ProbeSpec
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import absent, require
from tests.golden.case import load
from workers.rack.channels import kea
from workers.rack.files import ServiceDirectories
from workers.rack.lease_ends import LeaseEnder
from workers.rack.probes.base import ProbeContext, ProbeFailure
from workers.rack.probes.dhcp6 import PROBE, duid_of, solicit
from workers.rack.probing import client_mac
from workers.rack.secret_files import SecretFiles

MAC, OTHER, LOCAL = "00:16:3e:20:00:0a", "00:16:3e:20:00:0b", "52:54:00:20:00:0c"
HTTP = "http://[fd20::1]:5248"
SPEC = registry.service("kea6")


@pytest.fixture
def rack() -> Iterator[tuple[RackIntent, str, str]]:
    """The intent of the golden case `lab`, the rack's namespace and a client's, whose interface has the MAC."""
    require("ip", "kea-dhcp6")
    with rack_directory() as root:
        intent = at(load("lab"), root)
        with network_of(intent, f"m6-{os.getpid()}") as inside:
            client = f"{inside}-c"
            _move(client, MAC)
            yield intent, inside, client


def _move(client: str, mac: str) -> None:
    """Give the client another MAC, and with it a link-local address."""
    namespace.batch(client, ["link set end0 down", f"link set end0 address {mac}", "link set end0 up"])


def _take(client: str, who: Client6) -> Lease6:
    return namespace.inside(client, who.solicit_and_request)


def _promise(intent: RackIntent, subnet_id: int, text: str) -> None:
    path = Path(hosts_path(intent, "kea6", subnet_id))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_kea6_tells_each_kind_of_client_its_boot_file(rack: tuple[RackIntent, str, str]) -> None:
    """UEFI, HTTP boot and iPXE get their own URL and lease time, a system none; settings are given without an address too."""
    intent, inside, client = rack
    asked = {
        "uefi": Client6("end0", iaid=1, architecture=UEFI_X64, vendor_class="PXEClient"),
        "uefi-ebc": Client6("end0", iaid=2, architecture=9, vendor_class="PXEClient"),
        "http": Client6("end0", iaid=3, architecture=UEFI_HTTP, vendor_class="HTTPClient"),
        "ipxe": Client6("end0", iaid=4, architecture=UEFI_X64, user_class="iPXE", vendor_class="PXEClient"),
        "system": Client6("end0", iaid=5),
    }
    with running(SPEC, intent, inside):
        # The first answer proves that Kea is up.
        eventually(lambda: _take(client, asked["system"]), 20)
        leases = {name: _take(client, who) for name, who in asked.items()}
        informed = namespace.inside(client, asked["system"].inform)

    assert {
        "uefi": "tftp://[fd20::1]/snponly.efi",
        "uefi-ebc": "tftp://[fd20::1]/snponly.efi",
        "http": f"{HTTP}/images/loader/snponly.efi",
        "ipxe": f"{HTTP}/boot/v1/start.ipxe",
        "system": "",
    } == {name: lease.boot_file for name, lease in leases.items()}
    assert {"uefi": 120, "uefi-ebc": 120, "http": 120, "ipxe": 3600, "system": 600} == {
        name: lease.valid for name, lease in leases.items()
    }
    # The firmware's own words come back (UEFI 2.10, section 24.7.3.1): enterprise number, length, class.
    assert [struct.pack("!IH", 343, 10) + b"HTTPClient"] == [
        lease.options[16] for lease in leases.values() if 16 in lease.options
    ]
    assert 5 == len({lease.address for lease in leases.values()})
    assert all(lease.address.startswith("fd20::1:") for lease in leases.values())
    assert {kea6.server_duid(intent)} == {lease.server for lease in leases.values()}
    for given in (leases["system"], informed):
        assert (("fd20::1",), b"\x03lab\x06muster\0") == (given.addresses(23), given.options[24])
        assert struct.pack("!HH", 1, 16) == given.options[56][:4]


def test_a_lease_is_ended_on_demand_if_it_is_the_clients(rack: tuple[RackIntent, str, str]) -> None:
    """It is told by its DUID; another client's stays, and one that is not there is no failure."""
    intent, inside, client = rack
    if not kea.hook(kea.LEASE_HOOK):
        absent("not installed: Kea's hook libdhcp_lease_cmds")
    root = Path(intent.layout.root)
    who = Client6("end0", iaid=5)
    end = LeaseEnder(lambda name: ServiceDirectories(root, name), SecretFiles(root), {"kea6"}.__contains__)
    with running(SPEC, intent, inside):
        address = eventually(lambda: _take(client, who), 20).address
        duid = who.duid.hex(":")
        others = end({"address": address, "duid": "00:03:00:01:52:54:00:00:00:01"})
        ended = [end({"address": address, "duid": duid}) for _ in range(2)]
        left = kea.client(ServiceDirectories(root, "kea6")).lease(address)

    assert {"ended": False, "holder": duid} == others
    assert [{"ended": True}, {"ended": False}] == ended
    assert {} == left


def test_a_client_of_a_switched_off_architecture_gets_an_address_and_no_boot_file(
    rack: tuple[RackIntent, str, str],
) -> None:
    """Neither the firmware nor iPXE on it, however that was loaded; iPXE of BIOS, which is on, does."""
    intent, inside, client = rack
    vlans = tuple(
        replace(
            vlan,
            subnets=tuple(replace(one, disabled_boot_architectures=("uefi-x64", "uefi-http")) for one in vlan.subnets),
        )
        for vlan in intent.vlans
    )
    asked = {
        "uefi": Client6("end0", iaid=1, architecture=UEFI_X64, vendor_class="PXEClient"),
        "ipxe": Client6("end0", iaid=2, architecture=UEFI_X64, user_class="iPXE", vendor_class="PXEClient"),
        "ipxe-bios": Client6("end0", iaid=3, architecture=0, user_class="iPXE", vendor_class="PXEClient"),
    }
    with running(SPEC, replace(intent, vlans=vlans), inside):
        eventually(lambda: _take(client, asked["uefi"]), 20)
        leases = {name: _take(client, who) for name, who in asked.items()}

    assert {"uefi": "", "ipxe": "", "ipxe-bios": f"{HTTP}/boot/v1/start.ipxe"} == {
        name: lease.boot_file for name, lease in leases.items()
    }
    assert all(lease.address.startswith("fd20::1:") for lease in leases.values())


def test_kea6_knows_a_host_by_its_mac_whatever_its_duid(rack: tuple[RackIntent, str, str]) -> None:
    """The link-local address of who asks names the host, a relay agent's word too; a DUID that names another does not.

    Kea believes a link-local address only if it says that its MAC is a manufacturer's: behind others, it asks the DUID.
    """
    intent, inside, client = rack
    _promise(
        intent,
        2,
        f'{{"hw-address": "{MAC}", "ip-addresses": ["fd20::a"], "hostname": "one"}},'
        f'{{"hw-address": "{OTHER}", "ip-addresses": ["fd20::b"]}},'
        f'{{"hw-address": "{LOCAL}", "ip-addresses": ["fd20::c"]}}',
    )
    of_other = duid_of(bytes.fromhex(OTHER.replace(":", "")))
    with running(SPEC, intent, inside):
        own = eventually(lambda: _take(client, Client6("end0")), 20)
        namespace.inside(client, lambda: Client6("end0").release(own))
        with_a_wrong_duid = _take(client, Client6("end0", duid=of_other, iaid=9))
        relayed = {
            mac: namespace.inside(
                inside, lambda mac=mac: solicit("lan0", mac, kea6.server_duid(intent), link_address="fd20::1").address
            )
            for mac in (OTHER, "00:16:3e:20:00:0d")
        }
        _move(client, LOCAL)
        unknown = eventually(lambda: _take(client, Client6("end0", iaid=10)), 20)
        of_local = _take(client, Client6("end0", duid=duid_of(bytes.fromhex(LOCAL.replace(":", ""))), iaid=11))

    assert ("fd20::a", "fd20::a", "fd20::b") == (own.address, with_a_wrong_duid.address, relayed[OTHER])
    assert relayed["00:16:3e:20:00:0d"].startswith("fd20::1:")
    assert (True, "fd20::c") == (unknown.address.startswith("fd20::1:"), of_local.address)


def test_the_probe_hears_our_server_only_and_needs_no_free_address(rack: tuple[RackIntent, str, str]) -> None:
    """Green with addresses and without, for it takes none; red for another server's answer, a stopped one and no interface."""
    intent, inside, _ = rack
    context = ProbeContext(client_mac("rack-1"))
    vlan = intent.vlans[0]
    dry = replace(intent, vlans=(replace(vlan, subnets=(*vlan.subnets[:1], replace(vlan.subnets[1], pools=()))),))
    (spec,) = SPEC.probes(intent)
    foreign = ProbeSpec("dhcp6", (*(item for item in spec.parameters if item[0] != "server"), ("server", "00020000")))
    nowhere = ProbeSpec("dhcp6", (*(item for item in spec.parameters if item[0] != "interface"), ("interface", "lan9")))

    def ask(what: ProbeSpec) -> str:
        return namespace.inside(inside, lambda: PROBE.ask(what, context))

    with running(SPEC, intent, inside) as base:
        said = eventually(lambda: ask(spec), 20)
        with pytest.raises(ProbeFailure, match=f"foreign servers do: {kea6.server_duid(intent).hex()}"):
            ask(foreign)
        with pytest.raises(ProbeFailure, match="interface lan9"):
            ask(nowhere)
        leases = [line for line in (base / "state" / "kea-leases6.csv").read_text().splitlines() if "fd20::" in line]
    with pytest.raises(ProbeFailure, match=r"after 2 tries$"):
        ask(spec)

    assert ("our server advertises fd20::1:0 on lan0", []) == (said, leases)

    with rack_directory() as root:
        dry = at(dry, root)
        with running(SPEC, dry, inside):
            assert "our server advertises no address on lan0" == eventually(lambda: ask(spec), 20)


def test_kea6_serves_several_links_and_what_relay_agents_bring() -> None:
    """Boot leases differ by VLAN, each gets its own range; behind a relay agent, only known clients are given an address."""
    require("ip", "kea-dhcp6")
    known, stranger = "00:16:3e:24:00:01", "00:16:3e:24:00:02"
    with rack_directory() as root:
        intent = at(load("six"), root)
        _promise(intent, 36, f'{{"hw-address": "{known}", "ip-addresses": ["2001:db8:24f::1"]}}')
        specs = {str(spec.parameter("subnet_id")): spec for spec in SPEC.probes(intent)}
        with network_of(intent, f"m6s-{os.getpid()}") as inside, running(SPEC, intent, inside):
            uefi = Client6("end0", architecture=UEFI_X64, vendor_class="PXEClient")
            direct = eventually(lambda: _take(f"{inside}-c", uefi), 20)
            probes = {
                name: namespace.inside(inside, lambda spec=spec: PROBE.ask(spec, ProbeContext(stranger)))
                for name, spec in specs.items()
            }
            far = namespace.inside(
                inside,
                lambda: solicit(
                    "eth0", known, kea6.server_duid(intent), link_address="2001:db8:240::1", source="2001:db8:21::2"
                ),
            )

    assert (120, "2001:db8:21::1000") == (direct.valid, direct.address)
    assert {"31": "2001:db8:21::1001", "33": "no address", "36": "no address"} == {
        name: said.removeprefix("our server advertises ").partition(" on ")[0] for name, said in probes.items()
    }
    assert "2001:db8:24f::1" == far.address
