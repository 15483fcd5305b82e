"""The promises of apply that do not need a daemon: regressions, exceptions, full disks, crashes, refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent
from renderers.spec import ProbeSpec, ServiceSpec, StateFile
from workers.rack import release
from workers.rack.apply import Applier, Resumed
from workers.rack.probes.base import ProbeContext, ProbeResult
from workers.rack.probing import Prober
from workers.rack.report import Wanted
from workers.rack.secret_files import SecretFiles
from workers.rack.units import FakeUnits, Unit

PROBE = ProbeSpec("fake", (("question", "well?"),))
COMMAND = ("toy", "--config", "{current}/toy.conf")


def _never(intent: RackIntent) -> Bundle:
    raise AssertionError("the rack renders nothing")


SPEC = ServiceSpec(
    name="toy",
    title="Toy",
    wanted=lambda intent: True,
    render=_never,
    command=COMMAND,
    channel="radvd",
    probes=lambda intent: (),
    packages=(),
    checker=(sys.executable, "-c", "import sys; sys.exit('bad' in open(sys.argv[1]).read())", "{staged}/toy.conf"),
)


class Host:
    """A rack with one toy service whose probe is green unless the running file says `deaf`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.units = FakeUnits()
        self.secrets = SecretFiles(root)
        self.secrets.write("relay-token", "hush-1")
        self.always_red = False
        self.applier = Applier(root, self.units, self.secrets, Prober(root, "r", self._ask), {"toy": SPEC})

    def _ask(self, spec: ProbeSpec, context: ProbeContext) -> ProbeResult:
        path = self.root / "services/toy/current/toy.conf"
        deaf = self.always_red or not path.exists() or "deaf" in path.read_text()
        return ProbeResult(spec, not deaf and self.units.is_running("toy"), "deaf" if deaf else "well")

    def wanted(self, text: str, number: int = 1, **other: object) -> Wanted:
        bundle = Bundle("toy", (RenderedFile("toy.conf", text),))
        return replace(Wanted(number, bundle, COMMAND, (PROBE,)), **other)

    def current(self) -> str:
        return (self.root / "services/toy/current/toy.conf").read_text()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A rack without services; probes are not waited for."""
    monkeypatch.setattr("workers.rack.probing.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(Prober.ask_until_green, "__defaults__", (0.0,))
    return Host(tmp_path)


def test_the_first_bundle_is_started_and_an_equal_one_touches_nothing(host: Host) -> None:
    """Kept and last-good; then unchanged, without a call to the supervisor."""
    first = host.applier.apply(host.wanted("one"))
    calls = list(host.units.calls)
    second = host.applier.apply(host.wanted("one", 2))

    assert (first.outcome, first.stage, second.outcome) == ("kept", "keep", "unchanged")
    assert first.digest == second.digest
    assert calls == host.units.calls
    assert (host.root / "services/toy/last-good/toy.conf").read_text() == "one"


def test_what_the_checker_refuses_never_becomes_current(host: Host) -> None:
    """The daemon keeps its files and its process."""
    host.applier.apply(host.wanted("one"))
    calls = list(host.units.calls)
    report = host.applier.apply(host.wanted("bad", 2))

    assert (report.outcome, report.stage, host.current(), host.units.calls) == ("failed", "check", "one", calls)


def test_a_regression_brings_last_good_back(host: Host) -> None:
    """A probe that was green and is red undoes the change; both are reported, and the next good one is kept."""
    good = host.applier.apply(host.wanted("one"))
    undone = host.applier.apply(host.wanted("deaf", 2))
    back = host.current()
    kept = host.applier.apply(host.wanted("two", 3))

    assert (undone.outcome, undone.stage, undone.undone_ok) == ("undone", "probe", True)
    assert (good.digest, "one") == (undone.digest, back)
    assert (kept.outcome, host.current()) == ("kept", "two")


def test_a_probe_that_was_red_before_undoes_nothing(host: Host) -> None:
    """Only a regression undoes; the red probe is told."""
    host.applier.apply(host.wanted("one"))
    host.always_red = True
    report = host.applier.apply(host.wanted("two", 2))

    assert (report.outcome, report.reason, host.current()) == ("kept", "deaf", "two")
    assert (host.root / "services/toy/last-good/toy.conf").read_text() == "one"


def test_a_service_that_does_not_start_is_not_left_behind(host: Host) -> None:
    """Nothing was good before, so nothing runs afterwards, and the reason is told."""
    host.units.refusing.add("toy")
    report = host.applier.apply(host.wanted("one"))

    assert (report.outcome, report.stage, report.digest) == ("failed", "activate", None)
    assert not (host.root / "services/toy/current").is_symlink()
    assert "toy" not in host.units.units


@pytest.mark.parametrize("place", ["link_atomically", "seed_state", "save"])
def test_a_full_disk_after_the_swap_leads_to_last_good(host: Host, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whatever cannot be written once the change has begun, the old files run again."""
    host.applier.apply(host.wanted("one"))
    full = [True]

    def fail_once(real: Callable[..., object]) -> Callable[..., object]:
        def work(*arguments: object, **named: object) -> object:
            before = place == "save" and "before.json" in str(arguments[-1])
            if full[0] and not before:
                full[0] = False
                raise OSError(28, "No space left on device")
            return real(*arguments, **named)

        return work

    if place == "save":
        monkeypatch.setattr(release.Applied, "save", fail_once(release.Applied.save))
    elif place == "seed_state":
        monkeypatch.setattr(release, "seed_state", fail_once(release.seed_state))
    else:
        import workers.rack.apply as module

        monkeypatch.setattr(module, "link_atomically", fail_once(module.link_atomically))
    report = host.applier.apply(host.wanted("two", 2))

    assert not full[0]
    assert (report.outcome, report.undone_ok, host.current()) == ("undone", True, "one")
    assert "No space left" in str(report.reason)
    assert host.applier.apply(host.wanted("two", 3)).outcome == "kept"


def test_a_crash_in_the_middle_is_undone_at_the_start(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between swap and probe; the next start runs last-good, and the offer can be tried again."""
    host.applier.apply(host.wanted("one"))

    def die(*ignored: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Prober, "ask_until_green", die)
        with pytest.raises(KeyboardInterrupt):
            host.applier.apply(host.wanted("two", 2))
    interrupted = host.current()
    broken, recovered = host.applier.resume()

    assert (interrupted, broken, host.current()) == ("two", (), "one")
    assert [(2, "toy", "undone", "interrupted", True)] == [
        (one.offer, one.service, one.outcome, one.stage, one.undone_ok) for one in recovered
    ]
    assert host.units.is_running("toy")
    assert host.applier.apply(host.wanted("two", 2)).outcome == "kept"


def test_a_start_runs_what_was_applied_without_anybody(host: Host) -> None:
    """The supervisor has forgotten everything; the disk has not."""
    host.applier.apply(host.wanted("one"))
    host.units.units.clear()
    host.units.running.clear()

    assert host.applier.resume() == Resumed()
    assert host.units.is_running("toy")


def test_a_start_leaves_a_daemon_running_whose_unit_is_written_anew(host: Host) -> None:
    """As after an update of the rack's software: a supervisor that stops a changed unit does not start it by itself."""
    host.applier.apply(host.wanted("one"))
    before = host.units.pid("toy")
    host.units.units["toy"] = Unit("toy", ("earlier",))

    assert host.applier.resume() == Resumed()
    assert host.units.is_running("toy")
    assert before != host.units.pid("toy")


def test_secrets_are_filled_in_and_a_new_one_is_a_change(host: Host) -> None:
    """The digest covers the reference; another value of the secret makes another release all the same."""
    first = host.applier.apply(host.wanted("token @secret:relay-token@"))
    filled = host.current()
    host.secrets.write("relay-token", "hush-2")
    second = host.applier.apply(host.wanted("token @secret:relay-token@", 2))

    assert (filled, host.current()) == ("token hush-1", "token hush-2")
    assert (second.outcome, first.digest) == ("kept", second.digest)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"command": ("rm", "-rf", "/")}, "same version"),
        ({"bundle": Bundle("nonsense", ())}, "does not know it"),
        ({"bundle": Bundle("toy", (RenderedFile("toy.conf", "@secret:nobody@"),))}, "nobody"),
    ],
)
def test_what_this_rack_does_not_know_is_refused_with_the_reason(
    host: Host, change: dict[str, object], reason: str
) -> None:
    """Another program, another service, a missing secret: nothing is touched."""
    report = host.applier.apply(host.wanted("one", **change))

    assert (report.outcome, host.units.calls) == ("failed", [])
    assert reason in str(report.reason)


def test_a_state_file_is_written_only_if_it_is_absent(host: Host) -> None:
    """Seeded once; what the daemon made of it stays; a path out of the state directory is refused."""
    seed = (StateFile("zones/a.zone", "toy.conf"),)
    first = host.applier.apply(host.wanted("one", state_files=seed))
    path = host.root / "services/toy/state/zones/a.zone"
    path.write_text("grown")
    second = host.applier.apply(host.wanted("two", 2, state_files=seed))
    outside = host.applier.apply(host.wanted("three", 3, state_files=(StateFile("../x", "toy.conf"),)))

    assert (first.seeded, second.seeded, path.read_text()) == (("zones/a.zone",), (), "grown")
    assert (outside.outcome, host.current()) == ("undone", "two")


def test_an_absent_service_is_stopped(host: Host) -> None:
    """Its process goes, its state stays; asking again changes nothing."""
    host.applier.apply(host.wanted("one"))
    first, second = host.applier.remove("toy", 2), host.applier.remove("toy", 3)

    assert (first.outcome, second.outcome, host.units.running) == ("kept", "unchanged", {})
    assert (host.root / "services/toy/state").is_dir()
