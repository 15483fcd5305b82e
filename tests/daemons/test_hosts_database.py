"""The hosts database dies, loses its data or is tampered with: silence for seconds, never a wrong address."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from lab import namespace
from renderers.services import hosts_db
from tests.daemons.host_lab import SCOPE, SUBNET, HostLab, host_lab, key_of, mac_of
from tests.daemons.rack_root import eventually
from workers.rack import host_drift, host_rows
from workers.rack.channels.base import ChannelDown
from workers.rack.channels.bind import BindUpdater
from workers.rack.files import ServiceDirectories
from workers.rack.probes.base import ProbeContext, ask
from workers.rack.probes.dhcp4 import build_discover, parse_mac, parse_offer
from workers.rack.record_flow import READ_BACK_SECONDS, RecordFlow
from workers.rack.records import RecordKeeper

PROMISED = "10.20.0.10"
CROWD = range(20, 60)
"""Machines with a promise each, which all ask again and again."""
RATE = 200
_IPV4 = 0x0800


@pytest.fixture(scope="module")
def lab() -> Iterator[HostLab]:
    """Kea with a hosts database that holds one promise."""
    with host_lab("hosts-database") as made:
        assert made.send([(1, PROMISED), *((number, address_of(number)) for number in CROWD)]) == {}
        yield made


def address_of(number: int) -> str:
    """What a machine of the crowd is promised."""
    return f"10.20.0.{number}"


class Crowd:
    """Many machines that ask `RATE` times a second together; `offers` has the moment, machine and address of every OFFER."""

    def __init__(self, lab: HostLab) -> None:
        self.offers: list[tuple[float, int, str]] = []
        self._stop = threading.Event()
        self._link = namespace.socket_in(f"{lab.inside}-c", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_IPV4))
        self._link.bind(("end0", _IPV4))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        self._thread.join()
        self._link.close()

    def heard_by_all(self, moment: float) -> None:
        """Every machine was offered its own address after a moment."""
        found = {(number, address) for at, number, address in list(self.offers) if at > moment}
        assert found >= {(number, address_of(number)) for number in CROWD}

    def longest_silence(self) -> float:
        """Seconds in which nobody was offered anything."""
        moments = [at for at, _, _ in self.offers]
        return max(after - before for before, after in pairwise(moments))

    def _run(self) -> None:
        macs = {number: parse_mac(mac_of(number)) for number in CROWD}
        questions = cycle([build_discover(mac, number) for number, mac in macs.items()])
        while not self._stop.is_set():
            self._link.send(next(questions))
            again = time.monotonic() + 1 / RATE
            while select.select([self._link], [], [], max(0.0, again - time.monotonic()))[0]:
                packet = self._link.recv(2048)
                for known, mac in macs.items():
                    if (found := parse_offer(packet, mac, known)) is not None:
                        self.offers.append((time.monotonic(), known, found.address))


class Stream:
    """A machine that asks again and again; `answers` are addresses by time, None for silence."""

    def __init__(self, lab: HostLab) -> None:
        self.answers: list[tuple[float, str | None]] = []
        self._lab = lab
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        self._thread.join()

    def since(self, moment: float) -> list[str | None]:
        """The answers to what was asked after a moment."""
        return [address for at, address in self.answers if at > moment]

    def _run(self) -> None:
        while not self._stop.is_set():
            at = time.monotonic()
            self.answers.append((at, self._lab.offer_or_nothing(1)))


def kill(lab: HostLab) -> None:
    """SIGKILL to the postmaster."""
    daemon = lab.daemons[hosts_db.NAME]
    assert daemon.process is not None
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()


def probe_is_green(lab: HostLab) -> bool:
    """What the rack's observation says of the database."""
    (spec,) = hosts_db.SERVICE.probes(lab.intent)
    return ask(spec, ProbeContext("02:00:00:00:00:01", lab.secrets.read)).ok


def served_again(lab: HostLab, stream: Stream) -> None:
    """The machine is answered, and right."""
    moment = time.monotonic()
    eventually(lambda: _has(PROMISED, stream.since(moment)), 20)


def _has(address: str, answers: list[str | None]) -> None:
    assert address in answers


def test_a_killed_database_is_silence_and_an_alarm_never_a_wrong_address(lab: HostLab) -> None:
    """Under load: nobody is ever offered another address than its own, the probe is red, changes wait, and all come back."""
    kea = lab.daemons["kea4"]
    with Crowd(lab) as crowd:
        eventually(lambda: crowd.heard_by_all(0.0), 20)
        kill(lab)
        time.sleep(1)
        red = probe_is_green(lab)
        with pytest.raises(ChannelDown):
            lab.send([(2, "10.20.0.11")])
        killed, before = time.monotonic(), len(crowd.offers)
        time.sleep(1)
        quiet = len(crowd.offers) - before
        lab.daemons[hosts_db.NAME].start()
        back = time.monotonic()
        eventually(lambda: crowd.heard_by_all(back), 20)
        seconds = time.monotonic() - back
        silence = crowd.longest_silence()
    wrong = {(number, address) for _, number, address in crowd.offers if address != address_of(number)}

    assert wrong == set()
    assert quiet == 0
    assert silence >= back - killed
    assert (red, probe_is_green(lab)) == (False, True)
    assert seconds < 10
    assert kea.process is not None
    assert kea.process.poll() is None
    assert lab.send([(2, "10.20.0.11")]) == {}
    assert lab.offered(2).address == "10.20.0.11"


def test_lost_data_is_made_again_before_kea_sees_it(lab: HostLab) -> None:
    """With the data directory gone the daemon does not start by itself; the rack makes it anew, hosts and all."""
    database = lab.daemons[hosts_db.NAME]
    with Stream(lab) as stream:
        served_again(lab, stream)
        database.stop()
        shutil.rmtree(database.base / "state" / "data")
        database.start()
        served_again(lab, stream)

    assert {address for _, address in stream.answers} <= {PROMISED, None}
    assert lab.present()[key_of(1)] == PROMISED


class Told:
    """A control plane that has nothing to say, and keeps what it is told of drift."""

    def __init__(self) -> None:
        self.drift: list[dict[str, Any]] = []

    def compare(self, sequence: int, roots: dict[str, int]) -> dict[str, Any]:
        return {"comparable": True, "differ": {}}

    def report_drift(self, drift: dict[str, Any]) -> None:
        self.drift.append(drift)


def by_hand(lab: HostLab, statement: str) -> None:
    """Somebody changes rows behind the rack's back."""
    run = ServiceDirectories(lab.root, hosts_db.NAME).run
    with host_rows.connected(run, lab.secrets.read(hosts_db.SECRET)) as cursor:
        cursor.execute(statement)
        assert cursor.rowcount == 1, statement


def test_rows_changed_by_hand_are_found_piece_by_piece_and_mended(
    lab: HostLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lost, one changed and one that is nobody's; a record that comes in between is live first, and is no drift."""
    monkeypatch.setattr(host_drift, "PIECE", 7)
    told, now = Told(), [0.0]
    keeper = RecordKeeper(lab.store, lab.keeper, lambda: BindUpdater("c2VjcmV0"), lambda service: False)
    flow = RecordFlow(keeper, told, lambda service: False, lambda: now[0])  # type: ignore[arg-type]
    identifier = "dhcp_identifier = decode('{}', 'hex')"
    lost, moved = (identifier.format(mac_of(number).replace(":", "")) for number in (21, 59))
    by_hand(lab, f"DELETE FROM hosts WHERE {lost}")  # noqa: S608 - ours
    by_hand(lab, f"UPDATE hosts SET ipv4_address = ipv4_address + 100 WHERE {moved}")  # noqa: S608 - ours
    now[0] += READ_BACK_SECONDS
    pieces = iter([False] * 3)
    lab.on_rack(lambda: flow.check(lab.offer, lambda: next(pieces, True)))
    early = list(told.drift)
    refused = lab.send([(3, "10.20.0.16"), (70, "10.20.0.17")])
    lab.on_rack(lambda: flow.check(lab.offer))
    mended = lab.present()
    by_hand(
        lab,
        "INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id)"  # noqa: S608 - ours
        f" VALUES (decode('ffff', 'hex'), 1, {SUBNET})",
    )
    now[0] += READ_BACK_SECONDS
    lab.on_rack(lambda: flow.check(lab.offer))
    wanted = {key: value["address"] for key, value in lab.store.values(SCOPE).items()}

    assert ([], {}) == (early, refused)
    assert {key_of(21), key_of(59)} == set(told.drift[0]["keys"])
    assert wanted == mended == lab.present()
    assert [(2, 0), (1, 0)] == [(one["found"], one["left"]) for one in told.drift]


def test_a_connection_is_kept_as_long_as_it_is_good(lab: HostLab) -> None:
    """Also after a refused statement; one that the server has ended is replaced without anybody's noticing."""
    where = ServiceDirectories(lab.root, hosts_db.NAME).run, lab.secrets.read(hosts_db.SECRET)
    line = host_rows.Line()
    served: list[int] = []

    def ask(statement: str = "SELECT pg_backend_pid()") -> None:
        with line.transaction(*where) as cursor:
            cursor.execute(statement)
            served.append(cursor.fetchone()[0])

    ask()
    with pytest.raises(host_rows.DatabaseRefuses):
        ask("SELECT 1/0")
    ask()
    with host_rows.connected(*where) as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (served[0],))
    ask()
    with pytest.raises(host_rows.DatabaseDown):
        ask("SELECT pg_terminate_backend(pg_backend_pid())")
    ask()
    line.close()

    assert served[0] == served[1]
    assert len(set(served)) == 3


def test_the_password_is_in_no_command_line_and_no_log(lab: HostLab) -> None:
    """It was made here, and it is in Kea's closed file only."""
    password = lab.secrets.read(hosts_db.SECRET)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        assert password.encode() not in words
    for daemon in lab.daemons.values():
        assert password not in daemon.log
    config = lab.root / "services" / "kea4" / "current" / "kea-dhcp4.conf"
    bundle = lab.daemons["kea4"].spec.render(lab.intent)

    assert password in config.read_text()
    assert config.stat().st_mode & 0o007 == 0
    assert all(password not in file.text for file in bundle.files)
