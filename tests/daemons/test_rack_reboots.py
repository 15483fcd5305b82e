"""A rack host as an operator has it: booted by systemd, its daemons units of it, and alone after a power failure.

The agent is a unit too, started by hand, so that after the reboot nothing of ours runs but what systemd starts by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab import namespace
from lab.container import Container
from renderers import registry
from renderers.intent import RackIntent
from tests.daemons.containers import container
from tests.daemons.rack_host import MAC, RACK, REPOSITORY, RackHost
from tests.daemons.rack_root import at, eventually, machines_of
from tests.daemons.requires import absent
from tests.factories.fake_control_plane import FakeControlPlane, offer_content
from tests.golden.case import load

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(900)]

ROOT = "/var/lib/muster-rack"
AGENT = f"""\
[Service]
ExecStart={sys.executable} -m workers.rack agent --root {ROOT}
Environment=PYTHONDONTWRITEBYTECODE=1
WorkingDirectory={REPOSITORY}
"""
OWN_PYTHON = [Path(sys.base_prefix)] if sys.base_prefix != "/usr" else []
"""What this Python needs beside the virtual environment where it is not the system's."""


@dataclass
class Site:
    """A rack host, what it should serve, its control plane, and machines that ask it."""

    host: Container
    intent: RackIntent
    plane: FakeControlPlane
    machines: RackHost

    def apply(self, intent: RackIntent) -> list[str]:
        """Offer, and wait until every service that is wanted is kept; their names."""
        names = sorted(spec.name for spec in registry.services() if spec.wanted(intent))
        number = self.plane.set_offer(offer_content(intent))
        try:
            self.plane.wait_until(lambda: set(names) <= set(self.plane.reports_of(number)), 180)
        except BaseException:
            print(self.host.run(["journalctl", "--no-pager", "-n", "100"], check=False).stdout)
            raise
        reports = self.plane.reports_of(number)

        assert {} == {
            name: (reports[name]["outcome"], reports[name]["reason"])
            for name in names
            if reports[name]["outcome"] not in ("kept", "unchanged")
        }
        return names

    def states(self, names: list[str]) -> dict[str, str]:
        """What systemd says of each service's unit."""
        said = self.host.run(["systemctl", "is-active", *(f"muster-{name}" for name in names)], check=False).stdout
        return dict(zip(names, said.split(), strict=True))


@pytest.fixture
def site() -> Iterator[Site]:
    """An enrolled rack on a host with the packages of its services, whose rivals are masked as the installation does."""
    if not OWN_PYTHON and sys.version_info[:2] != (3, 11):
        absent("the rack's Python packages are lent to a Debian 12, whose Python is 3.11: run the tests with that")
    intent = at(load("lab"), ROOT)
    # DHCP hosts in a database, which Kea has to find again when both start with the host.
    intent = replace(intent, layout=replace(intent.layout, postgres_programs="/usr/lib/postgresql/15/bin"))
    packages = tuple(sorted({package for spec in registry.services() for package in spec.packages}))
    with container(packages, [REPOSITORY, *OWN_PYTHON]) as host, machines_of(intent, host.name) as machines:
        namespace.batch(machines, [f"link set end0 address {MAC}", "addr add 10.20.0.50/24 dev end0"])
        rivals = [unit for spec in registry.services() for unit in spec.rival_units]
        host.run(["systemctl", "mask", "--quiet", *rivals])
        # Not stopped: Debian's squid takes half a minute for that.
        host.run(["systemctl", "kill", "--signal=KILL", *rivals], check=False)
        with FakeControlPlane(rack=intent.rack_name).start(port=5240, namespace=host.name) as plane:
            argv = [
                "env",
                f"--chdir={REPOSITORY}",
                sys.executable,
                "-m",
                "workers.rack",
                "enrol",
                "--no-hosts-database",
            ]
            argv += ["--root", ROOT, "--url", plane.url, "--code-file", "-"]
            host.run(argv, text=plane.code, timeout=120)
            yield Site(host, intent, plane, RackHost(Path(ROOT), intent, host.name))


def test_a_rebooted_rack_serves_what_was_last_good(site: Site) -> None:
    """Every daemon runs as a unit and its probes are green; after a reboot, and after a power failure, it serves on alone.

    A machine is offered the address that was promised to it, and the name server and the boot loader answer.
    """
    (site.host.files / "etc/systemd/system/agent.service").write_text(AGENT)
    site.host.run(["systemctl", "daemon-reload"])
    site.host.run(["systemctl", "start", "agent"])
    # The other DHCP server first, so that each service has been a unit once.
    site.apply(replace(site.intent, dhcp_server="dhcpd"))
    by_dhcpd, other = site.machines.discover().server, site.states(["dhcpd", "kea4"])
    names = site.apply(site.intent)
    by_itself = site.host.run(["systemctl", "is-active", "postgresql@15-main"], check=False).stdout

    assert by_itself == "active\n"  # The host's own PostgreSQL and ours get along.
    assert (RACK, "active", "inactive") == (by_dhcpd, other["dhcpd"], other["kea4"])
    assert dict.fromkeys(names, "active") == site.states(names)
    assert {"dhcpd": "inactive"} == site.states(["dhcpd"])

    vlan = site.intent.vlans[0]
    subnet = next(item for item in vlan.subnets if item.family == 4)
    value = {"subnet_id": subnet.subnet_id, "mac": MAC, "address": "10.20.0.77", "hostname": "n1"}
    sequence = site.plane.add_record(f"vlan:{vlan.vlan_id}", f"host:{subnet.subnet_id}:{MAC}", value)
    site.plane.wait_until(lambda: any(one["applied"] == sequence for one in site.plane.record_reports), 60)

    site.plane.stop()

    def served() -> None:
        offered = site.machines.discover()
        assert (RACK, "10.20.0.77") == (offered.server, offered.address)
        assert site.machines.resolve("lab.muster.", "SOA")
        assert Path("/usr/lib/ipxe/undionly.kpxe").stat().st_size == len(site.machines.read_loader())

    for boot in (site.host.reboot, site.host.fail_power):
        boot()
        eventually(served, 60)

        assert dict.fromkeys(names, "active") == site.states(names)
        assert site.host.run(["systemctl", "is-active", "agent"], check=False).stdout == "inactive\n"
