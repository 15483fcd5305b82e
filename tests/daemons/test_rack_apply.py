"""A whole rack host: supervisord, the agent and real daemons in a namespace, and a control plane that is only its edge."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lab import dhcp_client, namespace
from renderers import registry
from renderers.bundle import Bundle
from renderers.intent import RackIntent
from renderers.services import kea6
from tests.daemons.rack_host import MAC, RACK, RackHost
from tests.daemons.rack_root import at, eventually, network_of, rack_directory
from tests.daemons.requires import absent, require
from tests.factories.fake_control_plane import FakeControlPlane, offer_content
from tests.golden.case import load
from workers.rack.hosts_database import programs
from workers.rack.probes import dhcp6
from workers.rack.probes.dhcp6 import solicit
from workers.rack.units import UnitError


@dataclass
class Host(RackHost):
    """A rack host whose control plane is only its edge."""

    plane: FakeControlPlane = field(default_factory=FakeControlPlane)

    def apply(self, intent: RackIntent, bundles: tuple[Bundle, ...] = ()) -> dict[str, dict[str, Any]]:
        """Offer and wait for the reports of all services that are wanted, and an observation after them."""
        number = self.plane.set_offer(offer_content(intent, bundles))
        services = {spec.name for spec in registry.services() if spec.wanted(intent)}
        self.plane.wait_until(lambda: services <= set(self.plane.reports_of(number)), 150)
        self.plane.wait_until(lambda: any(item["offer"] == number for item in self.plane.observations), 60)
        return self.plane.reports_of(number)


@pytest.fixture
def host() -> Iterator[Host]:
    """A rack host that is enrolled and up, with nothing offered yet; machines are at 10.20.0.50."""
    require("ip", "kea-dhcp4", "kea-dhcp6", "named", "dnsmasq", "chronyd", "radvd", "rsyslogd", "squid")
    with rack_directory() as directory:
        root = Path(directory)
        intent = at(load("lab"), directory)
        with network_of(intent, f"ra-{os.getpid()}") as inside:
            client = f"{inside}-c"
            namespace.batch(client, [f"link set end0 address {MAC}", "addr add 10.20.0.50/24 dev end0"])
            plane = FakeControlPlane(rack=intent.rack_name).start(port=5240, namespace=inside)
            rack = Host(root, intent, inside, plane=plane)
            try:
                rack.enrol(plane.url, plane.code)
                rack.boot()
                yield rack
            finally:
                rack.show_logs()
                rack.halt()
                plane.stop()


def with_lease_path(intent: RackIntent, path: str, family: int = 4) -> Bundle:
    """Kea's bundle with another lease file."""
    service = f"kea{family}"
    bundle = registry.service(service).render(intent)
    file = bundle.files[0]
    text = file.text.replace(intent.layout.state_path(service, f"kea-leases{family}.csv"), path)
    assert text != file.text
    return Bundle(service, (replace(file, text=text),))


def test_a_rack_applies_keeps_undoes_and_survives(host: Host) -> None:
    """The first offer is green, an equal one touches nothing, a deaf Kea is undone, and all of it survives a reboot alone."""
    # The first offer brings every service up, and each probe is green.
    first = host.apply(host.intent)
    bad = {name: (item["outcome"], item["reason"]) for name, item in first.items() if item["outcome"] != "kept"}

    assert bad == {}
    assert not {"dhcpd", "hosts_db"} & set(first)
    assert all(probe["ok"] for item in first.values() for probe in item["probes"])
    assert host.discover().server == RACK
    assert Path("/usr/lib/ipxe/undionly.kpxe").read_bytes() == host.read_loader()

    # What its servers have leased is told at once, as a whole.
    host.plane.wait_until(lambda: {"0.0.0.0", "::"} <= {one["span"]["first"] for one in host.plane.lease_reports}, 30)

    # An offer of the same files touches no daemon.
    pids, sets = host.pids(), _config_sets(host)
    again = host.apply(host.intent)

    assert {item["outcome"] for item in again.values()} == {"unchanged"}
    assert (pids, sets) == (host.pids(), _config_sets(host))

    # Kea's checker passes a lease file that cannot be written; Kea is deaf then, and last-good mends it.
    deaf = host.apply(host.intent, (with_lease_path(host.intent, "/proc/muster/kea-leases4.csv"),))["kea4"]

    assert (deaf["outcome"], deaf["stage"], deaf["undone_ok"]) == ("undone", "activate", True)
    assert first["kea4"]["digest"] == deaf["digest"]
    assert host.discover().server == RACK
    assert pids["kea4"] == host.units.pid("kea4")

    # Files that the checker refuses never come near the daemon.
    broken = registry.service("kea4").render(host.intent).files[0]
    refused = host.apply(host.intent, (Bundle("kea4", (replace(broken, text='{"Dhcp4": {"nonsense": 1}}'),)),))["kea4"]

    assert (refused["outcome"], refused["stage"]) == ("failed", "check")
    assert host.discover().server == RACK

    # A change of one option is one config-set on the living process.
    subnet = host.intent.vlans[0].subnets[0]
    longer = replace(subnet, lease_seconds=subnet.lease_seconds + 60)
    vlan = replace(host.intent.vlans[0], subnets=(longer, *host.intent.vlans[0].subnets[1:]))
    changed_intent = replace(host.intent, vlans=(vlan, *host.intent.vlans[1:]))
    changed = host.apply(changed_intent)["kea4"]

    assert ("kept", pids["kea4"]) == (changed["outcome"], host.units.pid("kea4"))
    assert changed["seconds"]["gap"] < 2

    # The control plane goes away and the host reboots: machines are still served.
    host.plane.stop()
    host.halt()
    host.boot()

    def served() -> None:
        assert host.discover().server == RACK
        assert host.resolve("lab.muster.", "SOA")
        assert host.read_loader()

    eventually(served, 40)

    # A daemon's unit that vanished is brought back by the agent, from the disk alone.
    with contextlib.suppress(UnitError):  # The agent may be quicker: it is running again before it is forgotten.
        host.units.remove("dnsmasq")
    eventually(lambda: host.read_loader(), 40)


def test_records_go_live_are_checked_and_survive_a_lost_zone(host: Host) -> None:
    """A host and an RRset are answered as promised; a record that cannot be is named; a lost zone is filled again."""
    zone = host.intent.zones[0].name
    vlan = host.intent.vlans[0]
    subnet = next(item for item in vlan.subnets if item.family == 4)
    scope = f"vlan:{vlan.vlan_id}"

    def promise(mac: str, address: str) -> None:
        value = {"subnet_id": subnet.subnet_id, "mac": mac, "address": address, "hostname": "n1"}
        host.plane.add_record(scope, f"host:{subnet.subnet_id}:{mac}", value)

    def rrset(name: str, kind: str, *rdatas: str) -> None:
        value = {"name": f"{name}.{zone}.", "type": kind, "ttl": 30, "rdatas": list(rdatas)}
        host.plane.add_record(f"zone:{zone}", f"rrset:{name}.{zone}.:{kind}", value)

    def settled() -> list[dict[str, Any]]:
        wanted = len(host.plane.records)
        host.plane.wait_until(lambda: any(item["applied"] == wanted for item in host.plane.record_reports), 60)
        return [item for report in host.plane.record_reports for item in report["failed"]]

    promise(MAC, "10.20.0.77")
    rrset("n1", "A", "10.20.0.77")
    host.apply(host.intent)

    assert settled() == []
    assert host.discover().address == "10.20.0.77"
    assert host.resolve(f"n1.{zone}.") == ["10.20.0.77"]

    promise("52:54:00:20:00:0b", "10.20.0.77")
    promise("52:54:00:20:00:0c", "10.99.0.1")
    rrset("n1", "CNAME", f"n2.{zone}.")
    rrset("n2", "A", "10.20.0.78", "10.20.0.79")
    failed = {item["key"]: item["reason"] for item in settled()}

    assert set(failed) == {
        f"host:{subnet.subnet_id}:52:54:00:20:00:0b",
        f"host:{subnet.subnet_id}:52:54:00:20:00:0c",
        f"rrset:n1.{zone}.:CNAME",
    }
    assert MAC in failed[f"host:{subnet.subnet_id}:52:54:00:20:00:0b"]
    assert host.resolve(f"n1.{zone}.") == ["10.20.0.77"]
    assert sorted(host.resolve(f"n2.{zone}.")) == ["10.20.0.78", "10.20.0.79"]

    host.plane.add_record(f"zone:{zone}", f"rrset:n2.{zone}.:A", None)
    settled()

    assert host.resolve(f"n2.{zone}.") == []

    # The zone's files vanish with the daemon: it starts from its seed, and the rack fills it from its own store.
    host.units.stop("bind")
    for path in (host.root / "services" / "bind" / "state").rglob("*.zone*"):
        path.unlink()
    host.apply(host.intent)
    eventually(lambda: _equal(["10.20.0.77"], host.resolve(f"n1.{zone}.")), 30)

    # Kea starts into the same hosts.
    host.units.restart("kea4")
    eventually(lambda: _equal("10.20.0.77", host.discover().address), 15)


def test_an_address_that_was_freed_is_the_next_machines_at_once(host: Host) -> None:
    """A lease of a machine that lost its address is ended; one of a live client is not, and the record is tried again."""
    vlan = host.intent.vlans[0]
    subnet = next(item for item in vlan.subnets if item.family == 4)
    scope = f"vlan:{vlan.vlan_id}"
    second, third, fourth = (f"52:54:00:20:01:0{number}" for number in (2, 3, 4))

    def word(mac: str, address: str | None) -> dict[str, Any]:
        value = {"subnet_id": subnet.subnet_id, "mac": mac, "address": address, "hostname": "n"}
        key = f"host:{subnet.subnet_id}:{mac}"
        return {"sequence": host.plane.add_record(scope, key, value if address else None), "scope": scope, "key": key}

    def settled() -> dict[str, str]:
        wanted = len(host.plane.records)
        host.plane.wait_until(lambda: any(item["applied"] == wanted for item in host.plane.record_reports), 60)
        return {item["key"]: item["reason"] for report in host.plane.record_reports for item in report["failed"]}

    def lease(mac: str) -> str:
        taken = namespace.inside(f"{host.inside}-c", lambda: dhcp_client.discover_and_request("end0", mac))
        return taken.address

    word(MAC, "10.20.0.77")
    host.apply(host.intent)

    assert settled() == {}
    assert lease(MAC) == "10.20.0.77"
    assert host.kea.lease("10.20.0.77")["hw-address"] == MAC

    # Taken from one and given to another, in two words or seen as one batch.
    word(MAC, None)
    word(second, "10.20.0.77")

    assert settled() == {}
    assert host.discover(second).address == "10.20.0.77"
    assert lease(second) == "10.20.0.77"

    # A lease of which no word was ever heard here, outside the dynamic ranges.
    stale = {"ip-address": "10.20.0.78", "hw-address": MAC, "subnet-id": subnet.subnet_id}
    host.kea.ask("lease4-add", stale)
    word(third, "10.20.0.78")

    assert settled() == {}
    assert host.discover(third).address == "10.20.0.78"

    # A client that has its address from a dynamic range may be alive: it keeps it, and the record waits for its end.
    dynamic = lease(MAC)
    asked = word(fourth, dynamic)

    assert "another machine may hold it" in settled()[asked["key"]]
    assert host.kea.lease(dynamic)["hw-address"] == MAC

    host.kea.end_lease(dynamic)
    host.plane.wait_until(lambda: any(asked in item["mended"] for item in host.plane.record_reports), 180)

    assert host.discover(fourth).address == dynamic


def test_kea6_is_changed_broken_and_mended_and_its_hosts_are_live(host: Host) -> None:
    """A change is one config-set on the living process, a deaf or refused one is undone; hosts are live by the same strategy."""
    vlan = host.intent.vlans[0]
    four, six = vlan.subnets
    scope, other = f"vlan:{vlan.vlan_id}", "52:54:00:20:00:0b"
    duid = dhcp6.duid_of(bytes.fromhex(MAC.replace(":", "")))

    def promise(mac: str, address: str | None) -> dict[str, str]:
        value = {"subnet_id": six.subnet_id, "mac": mac, "address": address, "hostname": "n1"} if address else None
        host.plane.add_record(scope, f"host:{six.subnet_id}:{mac}", value)
        wanted = len(host.plane.records)
        host.plane.wait_until(lambda: any(item["applied"] == wanted for item in host.plane.record_reports), 60)
        return {item["key"]: item["reason"] for report in host.plane.record_reports for item in report["failed"]}

    first = host.apply(host.intent)["kea6"]
    pid = host.units.pid("kea6")

    assert ("kept", "our server advertises fd20::1:0 on lan0") == (first["outcome"], first["probes"][0]["detail"])

    # A host is given its address, also from outside the pools; with the lease ended, the next one is given it at once.
    assert {} == promise(MAC, "fd20::77")
    assert "fd20::77" == host.lease6(duid=duid).address
    assert {} == promise(MAC, None)
    assert {} == promise(other, "fd20::77")
    assert {} == host.kea6.lease("fd20::77")
    assert f"host:{six.subnet_id}:{MAC}" in promise(MAC, "fd20::77")

    # Kea's checker passes a lease file that cannot be written; Kea is deaf then, and last-good mends it.
    deaf = host.apply(host.intent, (with_lease_path(host.intent, "/proc/muster/kea-leases6.csv", 6),))["kea6"]

    assert ("undone", "activate", True) == (deaf["outcome"], deaf["stage"], deaf["undone_ok"])
    assert host.lease6(iaid=2).address

    broken = registry.service("kea6").render(host.intent).files[0]
    refused = host.apply(host.intent, (Bundle("kea6", (replace(broken, text='{"Dhcp6": {"nonsense": 1}}'),)),))["kea6"]

    assert ("failed", "check") == (refused["outcome"], refused["stage"])

    longer = replace(vlan, subnets=(four, replace(six, lease_seconds=700)))
    changed = host.apply(replace(host.intent, vlans=(longer,)))

    assert ("kept", "unchanged") == (changed["kea6"]["outcome"], changed["kea4"]["outcome"])
    assert (pid, 700) == (host.units.pid("kea6"), host.lease6(iaid=3).valid)

    # The process starts into the same hosts.
    host.units.restart("kea6")
    server = kea6.server_duid(host.intent)
    ask = lambda: solicit("lan0", other, server, link_address="fd20::1").address  # noqa: E731
    eventually(lambda: _equal("fd20::77", namespace.inside(host.inside, ask)), 15)


def _equal(expected: object, actual: object) -> None:
    assert expected == actual


def _config_sets(host: Host) -> int:
    """How many times Kea was given a configuration, by its own log."""
    return (host.root / "log" / "kea4.log").read_text().count("COMMAND_RECEIVED Received command 'config-set'")


def test_hosts_move_into_a_database_when_the_rack_has_one(host: Host) -> None:
    """A rack where PostgreSQL has been installed serves the same hosts from it, and takes new ones without a config-set."""
    if not programs():
        absent("not installed: postgresql and kea-admin")
    vlan = host.intent.vlans[0]
    subnet = next(item for item in vlan.subnets if item.family == 4)

    def promise(mac: str, address: str) -> None:
        value = {"subnet_id": subnet.subnet_id, "mac": mac, "address": address, "hostname": "n1"}
        sequence = host.plane.add_record(f"vlan:{vlan.vlan_id}", f"host:{subnet.subnet_id}:{mac}", value)
        host.plane.wait_until(lambda: any(item["applied"] == sequence for item in host.plane.record_reports), 60)

    host.apply(host.intent)
    promise(MAC, "10.20.0.77")
    moved = host.apply(replace(host.intent, layout=replace(host.intent.layout, postgres_programs=programs())))
    sets = _config_sets(host)
    promise("52:54:00:20:00:0b", "10.20.0.78")

    assert {"kept"} == {moved[name]["outcome"] for name in ("hosts_db", "kea4")}
    assert ("10.20.0.77", "10.20.0.78") == (host.discover().address, host.discover("52:54:00:20:00:0b").address)
    assert sets == _config_sets(host)
    assert [] == [item for report in host.plane.record_reports for item in report["failed"]]
