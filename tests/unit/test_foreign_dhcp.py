"""A rack hears DHCP servers that are not ours: a real dnsmasq on the same wire as a server of ours, which is another."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import namespace
from renderers.spec import ProbeSpec
from tests.daemons.requires import require
from workers.rack.client import ControlPlaneDown
from workers.rack.probes.base import ProbeFailure
from workers.rack.sensors import foreign_dhcp
from workers.rack.sensors.foreign_dhcp import ForeignDhcpSensor, Report, answers, served

MAC = "02:00:00:00:77:01"
SERVERS = {"a": ("10.20.0.1", "52:54:00:20:00:0a"), "b": ("10.20.0.66", "52:54:00:20:00:0b")}
PROBES = (
    ProbeSpec("dhcp4", (("interface", "lan0"), ("server", "10.20.0.1"), ("port", 67))),
    ProbeSpec("dhcp4", (("interface", "lan0"), ("server", "10.20.0.2"), ("port", 67))),
    ProbeSpec("dhcp4", (("interface", "lan1"), ("server", "10.21.0.1"), ("port", 67), ("giaddr", "10.21.0.254"))),
    ProbeSpec("dns", (("server", "10.20.0.1"),)),
)


@contextmanager
def wire(tmp_path: Path) -> Iterator[str]:
    """A rack's namespace with `lan0` on a bridge, and two DHCP servers on it, each in its own."""
    rack = f"fd-{os.getpid()}"
    spaces = {name: f"{rack}-{name}" for name in SERVERS}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for space in (rack, *spaces.values()):
            namespace.run(["ip", "netns", "add", space])
        namespace.batch(rack, ["link add lan0 type bridge", "link set lan0 up"])
        for name, (address, mac) in SERVERS.items():
            there = spaces[name]
            namespace.batch(rack, [f"link add to-{name} type veth peer name eth0 netns {there}"])
            namespace.batch(rack, [f"link set to-{name} master lan0", f"link set to-{name} up"])
            namespace.batch(
                there, [f"link set eth0 address {mac}", "link set eth0 up", f"addr add {address}/24 dev eth0"]
            )
            argv = ["dnsmasq", "--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--interface=eth0"]
            argv += ["--dhcp-range=10.20.0.150,10.20.0.160,2m", "--dhcp-authoritative", "--no-ping", "--log-facility=-"]
            argv += [f"--dhcp-leasefile={tmp_path / name}", "--user=root", f"--pid-file={tmp_path / name}.pid"]
            running.append(subprocess.Popen([*namespace.exec_prefix(there), *argv], stderr=subprocess.DEVNULL))
        yield rack
    finally:
        for process in running:
            process.terminate()
            process.wait(10)
        for space in (rack, *spaces.values()):
            subprocess.run(["ip", "netns", "del", space], check=False, stderr=subprocess.DEVNULL)


def test_we_look_where_machines_ask_us() -> None:
    """Interfaces by their probes, with all that we answer from; not what comes through a relay agent."""
    assert {"lan0": frozenset({"10.20.0.1", "10.20.0.2"})} == served(PROBES)


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_a_real_foreign_server_is_heard(tmp_path: Path) -> None:
    """Only the one that is not ours, with what it offers and where it is; where there is no interface, that is said."""
    require("dnsmasq")
    with wire(tmp_path) as rack:
        found: list[dict[str, str]] = []
        for _ in range(10):  # Until dnsmasq has started.
            found = namespace.inside(rack, lambda: answers("lan0", MAC, frozenset({SERVERS["a"][0]})))
            if found:
                break
        both = namespace.inside(rack, lambda: answers("lan0", MAC, frozenset()))
        with pytest.raises(ProbeFailure, match="lan9"):
            namespace.inside(rack, lambda: answers("lan9", MAC, frozenset(), 0.1))

    address, mac = SERVERS["b"]
    assert [(address, mac, "lan0")] == [(one["server"], one["mac"], one["interface"]) for one in found]
    assert found[0]["offered"].startswith("10.20.0.1")
    assert sorted(server for server, _ in SERVERS.values()) == [one["server"] for one in both]


class Listener:
    """The control plane, now and then away."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.away = False

    def report_foreign_dhcp(self, report: Report) -> None:
        """Take it down."""
        if self.away:
            raise ControlPlaneDown("away")
        self.reports.append(report)


def test_it_is_told_when_there_is_something_and_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look always, as an older report may stand; then while somebody answers, and once when nobody does any more."""
    heard: list[list[dict[str, str]]] = []
    monkeypatch.setattr(foreign_dhcp, "answers", lambda *_: heard[0])
    listener = Listener()
    sensor = ForeignDhcpSensor(lambda: PROBES, MAC, listener, threading.Event())
    one = [{"interface": "lan0", "server": "10.20.0.66", "mac": MAC, "offered": "10.20.0.150"}]
    counts = []
    for now in ([], [], one, one, [], []):
        heard[:] = [now]
        sensor.look()
        counts.append(len(listener.reports))
    listener.away = True
    heard[:] = [one]
    with pytest.raises(ControlPlaneDown):
        sensor.look()
    listener.away = False
    sensor.look()

    assert [1, 1, 2, 3, 4, 4] == counts
    assert {"looked": ["lan0"], "servers": one} == listener.reports[-1]
