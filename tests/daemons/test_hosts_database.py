"""The hosts database dies, loses its data or is tampered with: silence for seconds, never a wrong address."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from renderers.services import hosts_db
from tests.daemons.host_lab import HostLab, host_lab, key_of
from tests.daemons.rack_root import eventually
from workers.rack.channels.base import ChannelDown
from workers.rack.probes.base import ProbeContext, ask

PROMISED = "10.20.0.10"


@pytest.fixture(scope="module")
def lab() -> Iterator[HostLab]:
    """Kea with a hosts database that holds one promise."""
    with host_lab("hosts-database") as made:
        assert made.send([(1, PROMISED)]) == {}
        yield made


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
    """Under load: nothing but the promised address is ever offered, the probe is red, changes wait, and it comes back."""
    kea = lab.daemons["kea4"]
    with Stream(lab) as stream:
        served_again(lab, stream)
        kill(lab)
        moment = time.monotonic()
        eventually(lambda: _has_silence(stream.since(moment)), 10)
        red = probe_is_green(lab)
        with pytest.raises(ChannelDown):
            lab.send([(2, "10.20.0.11")])
        time.sleep(1)
        lab.daemons[hosts_db.NAME].start()
        back = time.monotonic()
        eventually(lambda: _has(PROMISED, stream.since(back)), 20)
        seconds = time.monotonic() - back
    answers = {address for _, address in stream.answers}

    assert answers == {PROMISED, None}
    assert (red, probe_is_green(lab)) == (False, True)
    assert seconds < 10
    assert kea.process is not None
    assert kea.process.poll() is None
    assert lab.send([(2, "10.20.0.11")]) == {}
    assert lab.offered(2).address == "10.20.0.11"


def _has_silence(answers: list[str | None]) -> None:
    assert None in answers


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
