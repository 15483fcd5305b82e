"""rsyslog on a rack: hears machines by UDP and TCP, nobody else, spools what they say, and the control plane gets it once."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.services import syslog, syslog_reports
from app.services.context import Actor, Context
from app.services.syslog import SyslogFilters
from lab import namespace
from renderers import registry
from renderers.boot.rsyslog import RETRY_SECONDS, forward
from renderers.bundle import Bundle
from renderers.intent import RackIntent
from renderers.services import rsyslog
from renderers.text import TEMPLATES
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.factories.control import Seeded, make_context, seed
from tests.golden.case import load
from workers.rack.client import ControlPlaneDown
from workers.rack.probes.base import ProbeContext, ProbeResult, ask
from workers.rack.probes.syslog import tail
from workers.rack.sensors.syslog import SyslogSensor, parse

IMAGE_FILES = TEMPLATES / "images/deployable/etc/rsyslog.d"
HEAD = "<30>Jan  1 12:00:00 one app[7]: "


@pytest.fixture
def rack() -> Iterator[tuple[RackIntent, str, str]]:
    """The golden case `lab` in a namespace, and a client's: 10.20.0.50, fd20::50 and the stranger 192.0.2.9."""
    require("ip", "rsyslogd")
    with rack_directory() as root:
        intent = at(load("lab"), root)
        with network_of(intent, f"my-{os.getpid()}") as inside:
            own = ("10.20.0.50/24", "192.0.2.9/32", "fd20::50/64 nodad")
            words = [address.split() for address in own]
            namespace.batch(
                f"{inside}-c", [f"addr add {address} dev end0 {' '.join(rest)}" for address, *rest in words]
            )
            namespace.batch(inside, [f"route add 192.0.2.9/32 dev {intent.vlans[0].interface}"])
            yield intent, inside, f"{inside}-c"


class Teller:
    """The control plane as the sensor sees it, without HTTP; it may be away."""

    def __init__(self, context: Context, seeded: Seeded) -> None:
        self._context, self._seeded = context, seeded
        self.is_away = False

    def report_syslog(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Store."""
        if self.is_away:
            raise ControlPlaneDown("away")
        taken = syslog_reports.report(
            self._context, self._seeded.rack_id, report["stream"], report["begin"], report["end"], report["lines"]
        )
        return {"position": taken.position, "refused": taken.refused, "reason": taken.reason}

    def sensor(self, spool: Path) -> SyslogSensor:
        """A sensor that begins anew."""
        return SyslogSensor(spool, self, threading.Event())

    def told(self) -> list[str]:
        """All messages, oldest first."""
        return [line.message for line in reversed(syslog.find(self._context, SyslogFilters(), limit=500))]


@pytest.fixture
def teller(tmp_path: Path) -> Teller:
    """A store whose rack-1 serves 10.20.0.0/24."""
    context = make_context(tmp_path)
    seeded = seed(context)
    return Teller(context.acting_as(Actor("alice", "admin")), seeded)


def say(client: str, source: str, server: str, *lines: str, tcp: bool = False) -> None:
    """Send lines from an address of the client's."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with namespace.socket_in(client, family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as wire:
        wire.settimeout(3)
        wire.bind((source, 0))
        wire.connect((server, 514))
        for line in lines:
            wire.sendall(f"{HEAD}{line}{chr(10) if tcp else ''}".encode("utf-8", "surrogateescape"))


def probe(intent: RackIntent, inside: str) -> list[ProbeResult]:
    """All probes of the service, from the rack's own host."""
    specs = registry.service("rsyslog").probes(intent)
    return [namespace.inside(inside, lambda spec=spec: ask(spec, ProbeContext("02:00:00:00:00:01"))) for spec in specs]


def good(intent: RackIntent, inside: str) -> None:
    """The probes are green."""
    results = probe(intent, inside)
    assert all(result.ok for result in results), results


def wait_for(path: Path, word: str) -> None:
    """The spool has the word."""
    eventually(lambda: path.read_text(errors="replace").index(word))


def test_machines_are_heard_and_strangers_are_not(rack: tuple[RackIntent, str, str], teller: Teller) -> None:
    """By UDP and TCP and both families; the daemon is not root; lines reach the store once, whatever is in them."""
    intent, inside, client = rack
    with running(registry.service("rsyslog"), intent, inside) as base:
        spool = base / "state" / rsyslog.SPOOL
        eventually(lambda: good(intent, inside))
        (process,) = namespace.residents(inside)
        status = Path(f"/proc/{process.pid}/status").read_text().split("Uid:")[1].split()[:4]
        files = Path(f"/proc/{process.pid}/limits").read_text().split("Max open files")[1].split()[0]
        say(client, "192.0.2.9", "10.20.0.1", "stranger by udp")
        say(client, "192.0.2.9", "10.20.0.1", "stranger by tcp", tcp=True)
        say(client, "10.20.0.50", "10.20.0.1", "by udp", 'quoted " and \\ and \x1b[31m and \udcff')
        say(client, "10.20.0.50", "10.20.0.1", "by tcp", "y" * 6000, "after it", tcp=True)
        say(client, "fd20::50", "fd20::1", "by six")
        wait_for(spool, "by six")
        wait_for(spool, "after it")
        time.sleep(0.3)
        text = spool.read_text(errors="replace")
        sensor = teller.sensor(spool)
        while sensor.tell():
            pass
        again = teller.sensor(spool)
        told = teller.told()

        assert not again.tell()
    assert "0" not in status
    assert int(files) > rsyslog.SESSIONS
    assert "stranger" not in text
    assert ["by udp", 'quoted " and \\ and #033[31m and \ufffd', "by tcp", "after it"] == [
        line for line in told if not line.startswith("yyy")
    ]
    assert [True] == [len(line) <= rsyslog.LINE_BYTES for line in told if line.startswith("yyy")]


def test_nothing_is_lost_while_the_control_plane_is_away(rack: tuple[RackIntent, str, str], teller: Teller) -> None:
    """The ring turns when a file is full, its two files are told in order, and a restart of the daemon goes on writing."""
    intent, inside, client = rack
    whole = registry.service("rsyslog")

    def small(given: RackIntent) -> Bundle:
        bundle = whole.render(given)
        size = f'"{rsyslog.SPOOL_BYTES}"'
        files = tuple(replace(file, text=file.text.replace(size, '"20000"')) for file in bundle.files)
        return Bundle(bundle.service, files)

    spec = replace(whole, render=small)
    with running(spec, intent, inside) as base:
        spool = base / "state" / rsyslog.SPOOL
        older = spool.with_name("lines.1")
        eventually(lambda: good(intent, inside))
        sensor = teller.sensor(spool)
        sensor.tell()
        teller.is_away = True
        for number in range(80):
            say(client, "10.20.0.50", "10.20.0.1", f"line {number} {'x' * 60}")
            if number % 10 == 9:
                eventually(lambda number=number: (tail(spool) + tail(older)).index(b"line %d " % number))
                with pytest.raises(ControlPlaneDown):
                    sensor.tell()
        turned = older.exists()
        teller.is_away = False
        while sensor.tell():
            pass
        sizes = [path.stat().st_size for path in spool.parent.glob("lines*")]

    assert turned
    assert max(sizes) < 30_000
    assert [f"line {number}" for number in range(80)] == [" ".join(line.split()[:2]) for line in teller.told()]


def test_the_probe_finds_a_spool_that_cannot_be_written(rack: tuple[RackIntent, str, str]) -> None:
    """A daemon that listens and writes its lines into nowhere is red."""
    intent, inside, _ = rack
    with running(registry.service("rsyslog"), intent, inside) as base:
        spool = base / "state" / rsyslog.SPOOL
        eventually(lambda: good(intent, inside))
        spool.unlink()
        broken = probe(intent, inside)

    assert [False] * len(broken) == [result.ok for result in broken]
    assert all("did not arrive in" in result.detail for result in broken)


def test_an_installed_system_sends_its_rack_what_it_logs(rack: tuple[RackIntent, str, str], tmp_path: Path) -> None:
    """With the files that it is installed with: also what it logged before its rack was there, and nothing into files."""
    intent, inside, client = rack
    require("logger")
    forwarding = forward("10.20.0.1", 514).replace(f'resumeInterval="{RETRY_SECONDS}"', 'resumeInterval="1"')
    (tmp_path / "60-muster.conf").write_text(forwarding)
    shutil.copy(IMAGE_FILES / "90-journal-only.conf", tmp_path)
    own, entry = tmp_path / "rsyslog.conf", tmp_path / "log"
    own.write_text(  # As Debian's, with a socket and a file of our own.
        f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{entry}" CreatePath="on")\n'
        f"$IncludeConfig {tmp_path}/*-*.conf\n*.* {tmp_path}/syslog\n"
    )
    argv = [*namespace.exec_prefix(client), "rsyslogd", "-n", "-i", "NONE", "-f", str(own)]
    checked = subprocess.run(["rsyslogd", "-N1", "-f", own], capture_output=True, text=True, check=False, timeout=30)
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _log(entry, "before the rack"))
        time.sleep(0.3)
        with running(registry.service("rsyslog"), intent, inside) as base:
            spool = base / "state" / rsyslog.SPOOL
            _log(entry, "with the rack")
            wait_for(spool, "with the rack")
            wait_for(spool, "before the rack")
            lines = [parse(line) for line in spool.read_bytes().splitlines()]
    finally:
        process.terminate()
        process.wait(timeout=10)
    told = [line for line in lines if line is not None and "the rack" in line["message"]]

    assert 0 == checked.returncode, checked.stderr
    # rsyslog sends a line again that it held when the connection was refused, so it may come twice.
    assert {("10.20.0.50", "app", 3, 4, "before the rack"), ("10.20.0.50", "app", 3, 4, "with the rack")} == {
        (line["source"], line["program"], line["facility"], line["severity"], line["message"]) for line in told
    }
    assert not (tmp_path / "syslog").exists()


def _log(entry: Path, words: str) -> None:
    """A program of the system logs."""
    argv = ["logger", "--socket", str(entry), "--socket-errors=on", "-t", "app", "-p", "daemon.warning", words]
    subprocess.run(argv, check=True, timeout=10, capture_output=True)
