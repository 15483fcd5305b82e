"""What every supervisor promises: a real supervisord, a real systemd in a container, and the fake beside them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.remote_units import REPOSITORY, RemoteUnits, units_of
from tests.daemons.containers import container
from workers.rack.units import FakeUnits, SupervisorUnits, Unit, UnitError, Units, program_section

pytestmark = pytest.mark.timeout(900)

SLEEPER = ("python3", "-c", "import time; time.sleep(600)")
CONFIG = """\
[unix_http_server]
file={root}/supervisor.sock
[supervisord]
nodaemon=true
logfile={root}/supervisord.log
pidfile={root}/supervisord.pid
user=root
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={root}/units/*.conf
"""


@pytest.fixture(scope="module")
def systemd() -> Iterator[RemoteUnits]:
    """The systemd of a container."""
    with container(binds=[REPOSITORY]) as host, units_of(host) as units:
        yield units


@pytest.fixture(params=["supervisord", "systemd", "fake"])
def units(request: pytest.FixtureRequest) -> Iterator[Units]:
    """A supervisor of each kind that knows no unit of ours."""
    if request.param == "fake":
        yield FakeUnits()
        return
    if request.param == "systemd":
        made: Units = request.getfixturevalue("systemd")
        yield made
        made.remove("sleeper")
        return
    with tempfile.TemporaryDirectory(prefix="mu-") as directory:
        root = Path(directory)
        (root / "units").mkdir()
        (root / "supervisord.conf").write_text(CONFIG.format(root=root))
        argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(root / "supervisord.conf")]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            supervised = SupervisorUnits(root, root / "supervisor.sock")
            while True:
                try:
                    supervised.is_running("nothing")
                    break
                except UnitError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield supervised
        finally:
            process.terminate()
            process.wait(timeout=20)


def test_an_unknown_unit_is_not_running_and_cannot_be_started(units: Units) -> None:
    """It has no process, stopping and removing it are harmless, and starting it is an error that names it."""
    units.stop("ghost")
    units.remove("ghost")

    assert not units.is_running("ghost")
    assert units.pid("ghost") is None
    with pytest.raises(UnitError, match="ghost"):
        units.start("ghost")


def test_a_unit_lives_until_it_is_stopped(units: Units) -> None:
    """Started twice it is one process; restarted it is another; stopped it is none."""
    units.install(Unit("sleeper", SLEEPER))
    units.start("sleeper")
    first = units.pid("sleeper")
    units.start("sleeper")
    same = units.pid("sleeper")
    units.restart("sleeper")
    second = units.pid("sleeper")
    units.stop("sleeper")

    assert first is not None
    assert first == same
    assert second not in (None, first)
    assert (units.is_running("sleeper"), units.pid("sleeper")) == (False, None)


def test_only_a_change_is_a_change(units: Units) -> None:
    """Installing the same unit again says so and leaves its process alone; another command replaces it."""
    first = units.install(Unit("sleeper", SLEEPER))
    units.start("sleeper")
    pid = units.pid("sleeper")
    again = units.install(Unit("sleeper", SLEEPER))
    kept = units.pid("sleeper")
    other = units.install(Unit("sleeper", (*SLEEPER, "100%")))
    units.start("sleeper")

    assert (first, again, other) == (True, False, True)
    assert pid == kept
    assert units.pid("sleeper") not in (None, pid)


def test_a_removed_unit_is_forgotten(units: Units) -> None:
    """Its process is gone and it can be installed anew."""
    units.install(Unit("sleeper", SLEEPER))
    units.start("sleeper")
    known = units.is_known("sleeper")
    units.remove("sleeper")

    assert known
    assert not units.is_known("sleeper")
    assert not units.is_running("sleeper")
    assert units.install(Unit("sleeper", SLEEPER))


def test_a_signal_needs_a_process(units: Units) -> None:
    """HUP is delivered to a process that runs, and refused where none does."""
    units.install(Unit("sleeper", SLEEPER))
    units.start("sleeper")
    units.signal("sleeper", "HUP")
    units.stop("sleeper")

    with pytest.raises(UnitError):
        units.signal("sleeper", "HUP")


def test_what_a_daemon_says_is_kept(units: Units) -> None:
    """What it has said since a mark can be read, and nothing from before; the fake's daemons say nothing."""
    if isinstance(units, FakeUnits):
        assert ("", "nowhere") == units.said("sleeper", units.mark("sleeper"))
        return

    def heard(word: str, mark: str) -> bool:
        end = time.monotonic() + 20
        while word not in units.said("sleeper", mark)[0] and time.monotonic() < end:
            time.sleep(0.05)
        return word in units.said("sleeper", mark)[0]

    script = "import sys, time; print('said', sys.argv[1], flush=True); time.sleep(600)"
    begin = units.mark("sleeper")
    units.install(Unit("sleeper", ("python3", "-c", script, "one")))
    units.start("sleeper")
    first = heard("said one", begin)
    mark = units.mark("sleeper")
    units.install(Unit("sleeper", ("python3", "-c", script, "two")))
    units.start("sleeper")
    second = heard("said two", mark)

    assert (True, True) == (first, second)
    assert "said one" not in units.said("sleeper", mark)[0]
    assert "sleeper" in units.said("sleeper", mark)[1]


def test_a_command_that_ends_at_once_is_an_error() -> None:
    """supervisord's words for it name the log to read; the section doubles per cent signs and refuses line breaks."""
    text = program_section(Unit("x", ("/bin/a b", "50%"), (("NAME", "v"),)), Path("/log"))

    assert "command='/bin/a b' 50%%" in text
    assert 'environment=NAME="v"' in text
    with pytest.raises(UnitError, match="line break"):
        program_section(Unit("x", ("a\nb",)), Path("/log"))
