"""Daemons as units of a real systemd: words reach them as they are, they come back, and trouble is told in their words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from lab.container import Container
from tests.conformance.remote_units import REPOSITORY, ROOT, RemoteUnits, units_of
from tests.daemons.containers import container
from workers.rack.units import Unit, UnitError

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(900)]

SLEEPER = Unit("sleeper", ("python3", "-c", "import time; time.sleep(600)"))
WORDS = (
    *(
        "two words",
        "50% %n %%",
        "$HOME ${HOME} $$",
        '"double"',
        "'single'",
        "back\\slash\\",
        "",
        ";",
        "a\tb\nc",
        "ümlaut",
    ),
    *("-@!+:", "\\x41", "#no comment", "\x7f\x01", "=", "a\\"),
)
TELL = "import json, os, sys, time; print(json.dumps([sys.argv[1:], os.environ['TOLD']]), flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def host() -> Iterator[Container]:
    """A host that was booted by systemd and has no rack's units yet."""
    with container(binds=[REPOSITORY]) as made:
        yield made


@pytest.fixture
def units(host: Container) -> Iterator[RemoteUnits]:
    """Its units; nothing of ours is left afterwards."""
    with units_of(host) as made:
        yield made
        made.remove("sleeper")


def wait_for(what: str, reached: Callable[[], bool], seconds: float = 30) -> None:
    """Fail unless it comes about in time."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def reloads(host: Container) -> int:
    """How often systemd has read its units again since it booted."""
    host.run(["journalctl", "--sync"])
    said = host.run(["journalctl", "--quiet", "--boot", "--output=cat", "_PID=1"]).stdout
    return sum(line.startswith("Reloading") for line in said.splitlines())


def test_words_reach_a_daemon_as_they_are(units: RemoteUnits) -> None:
    """Whatever systemd would take for a specifier, a variable, a quote, an escape or the next command is a mere word."""
    told = "".join(WORDS)
    begin = units.mark("sleeper")
    units.install(Unit("sleeper", ("python3", "-c", TELL, *WORDS), (("TOLD", told), ("OTHER", "x"))))
    units.start("sleeper")
    wait_for("it tells", lambda: "]" in units.said("sleeper", begin)[0])
    lines = units.said("sleeper", begin)[0].splitlines()

    assert [list(WORDS), told] == json.loads(next(line for line in lines if line.startswith("[")))


def test_a_daemon_comes_back_when_it_dies(host: Container, units: RemoteUnits) -> None:
    """Killed it does not count as running, until systemd has started another."""
    units.install(SLEEPER)
    units.start("sleeper")
    first = units.pid("sleeper")
    host.run(["kill", "-9", str(first)])

    wait_for("it is seen to be dead", lambda: not units.is_running("sleeper"))
    wait_for("another is started", lambda: units.pid("sleeper") not in (None, first))


def test_a_rebooted_host_starts_its_daemons(host: Container) -> None:
    """By itself, and without the pid files of the time before: what had their numbers may be anybody now."""
    stale = f"{ROOT}/services/sleeper/run/sleeper.pid"
    with units_of(host) as units:
        units.install(SLEEPER)
        units.start("sleeper")
    host.run(["mkdir", "-p", stale.rpartition("/")[0]])
    host.run(["touch", stale])
    host.reboot()
    with units_of(host) as units:
        running = units.is_running("sleeper")
        changed = units.install(SLEEPER)
        units.remove("sleeper")

    assert (True, False) == (running, changed)
    assert host.run(["ls", stale.rpartition("/")[0]]).stdout == ""


def test_systemd_reads_its_units_again_only_when_one_has_changed(host: Container, units: RemoteUnits) -> None:
    """A file that was written before an interruption is read too; the same unit again has nothing read."""
    units.install(SLEEPER)
    before = reloads(host)
    units.install(SLEEPER)
    same = reloads(host)
    path = host.files / "etc/systemd/system/muster-sleeper.service"
    wanted = path.read_text()
    host.run(["systemctl", "disable", "--quiet", "muster-sleeper"])
    read = reloads(host)
    changed = units.install(SLEEPER)

    assert before == same > 0
    assert changed
    assert reloads(host) == read + 1
    assert wanted == path.read_text()
    assert host.run(["systemctl", "is-enabled", "muster-sleeper"]).stdout == "enabled\n"


def test_a_daemon_that_does_not_stay_is_told_in_its_own_words(units: RemoteUnits) -> None:
    """The error names the unit, how it ended, what it said last and where all of it is; so for a program that is not there."""
    units.install(Unit("sleeper", ("sh", "-c", "echo no lease file >&2; exit 1")))

    def start_again_and_again() -> None:
        for _ in range(20):  # On a busy host it may live for longer than it has to.
            units.restart("sleeper")

    with pytest.raises(UnitError) as ended:
        start_again_and_again()
    units.install(Unit("sleeper", ("/usr/sbin/nothing-here",)))
    with pytest.raises(UnitError) as absent:
        units.start("sleeper")

    said = str(ended.value)
    assert "unit sleeper: the process ends as soon as it starts (exit-code, exit status 1)" in said
    assert "no lease file" in said
    assert "journalctl -u muster-sleeper.service" in said
    assert "nothing-here" in str(absent.value)


def test_a_masked_unit_is_left_alone(host: Container, units: RemoteUnits) -> None:
    """Who masks a unit wants it not to run; installing it is refused with the command that lets it run."""
    host.run(["systemctl", "mask", "--quiet", "muster-sleeper.service"])
    try:
        with pytest.raises(UnitError, match=r"systemctl unmask muster-sleeper\.service"):
            units.install(SLEEPER)
    finally:
        host.run(["systemctl", "unmask", "--quiet", "muster-sleeper.service"])


def test_no_other_unit_can_be_named(units: RemoteUnits) -> None:
    """A name that leads elsewhere is refused before anything is written."""
    for name in ("../ssh", "a.service", "", "-f", "A"):
        with pytest.raises(UnitError, match="small letters"):
            units.install(Unit(name, SLEEPER.command))
