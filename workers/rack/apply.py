"""Applies one service of an offer: check, swap, activate, probe, keep or undo.

The promises: files that the daemon's own checker refuses never become current; an unchanged bundle of a running daemon
touches nothing; whatever fails after the swap (a full disk, an exception, a probe that was green and is red) brings
last-good back, activated and probed; and a crash in the middle is found by its journal and undone at the next start.
Only a regression undoes: a probe that was red before says nothing about the new files.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from renderers.bundle import Bundle
from renderers.spec import ProbeSpec, ServiceSpec, StateFile
from workers.rack import release as releases
from workers.rack.channels.base import ChannelContext, ChannelError, channels, run
from workers.rack.files import ServiceDirectories, link_atomically, substitute, write_atomically
from workers.rack.probes.base import ProbeResult
from workers.rack.probing import Prober
from workers.rack.release import Applied
from workers.rack.secret_files import SecretFiles
from workers.rack.units import Unit, UnitError, Units

log = structlog.get_logger()


class Regression(Exception):
    """A probe that was green before the change is red after it."""


@dataclass(frozen=True)
class Wanted:
    """One service as an offer asks for it; `command` is the daemon's whole command line, places not filled in."""

    offer: int
    bundle: Bundle
    command: tuple[str, ...]
    probes: tuple[ProbeSpec, ...] = ()
    state_files: tuple[StateFile, ...] = ()


@dataclass
class ApplyReport:
    """What came of one service; `digest` is that of the files that run now."""

    offer: int
    service: str
    outcome: str = "kept"
    stage: str = "check"
    reason: str | None = None
    digest: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    probes: tuple[ProbeResult, ...] = ()
    undone_ok: bool | None = None
    seeded: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether what the offer asked for runs."""
        return self.outcome in ("kept", "unchanged")

    def as_data(self) -> dict[str, Any]:
        """The JSON form of rackapi."""
        return {
            "offer": self.offer,
            "service": self.service,
            "outcome": self.outcome,
            "stage": self.stage,
            "reason": self.reason,
            "digest": self.digest,
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "probes": [probe.as_data() for probe in self.probes],
            "undone_ok": self.undone_ok,
        }


class Applier:
    """Applies services on this host.  `before_check` is called with a service's name before its files are checked."""

    def __init__(
        self,
        root: Path,
        units: Units,
        secrets: SecretFiles,
        prober: Prober,
        specs: Mapping[str, ServiceSpec],
        before_check: Callable[[str], None] = lambda service: None,
    ) -> None:
        self._root = root
        self._units = units
        self._secrets = secrets
        self._prober = prober
        self._specs = specs
        self._before_check = before_check

    def directories(self, service: str) -> ServiceDirectories:
        """Where a service lives here."""
        return ServiceDirectories(self._root, service)

    def applied(self, service: str) -> Applied | None:
        """What a service runs, None if nothing was applied."""
        directories = self.directories(service)
        applied = Applied.load(directories.base / releases.APPLIED_FILE)
        return applied if applied is not None and directories.target(directories.current) == applied.release else None

    def services(self) -> tuple[str, ...]:
        """Services that were applied here."""
        base = self._root / "services"
        names = sorted(path.name for path in base.iterdir()) if base.is_dir() else []
        return tuple(name for name in names if name in self._specs and self.applied(name) is not None)

    def apply(self, wanted: Wanted) -> ApplyReport:
        """Carry out one service; never raises for what can go wrong with it, the report says it."""
        service = wanted.bundle.service
        report = ApplyReport(wanted.offer, service)
        try:
            with self._lock():
                self._apply(wanted, report)
        except Exception as error:
            report.outcome, report.reason = "failed", _words(error)
        if report.digest is None:
            applied = self.applied(service)
            report.digest = applied.digest if applied is not None else None
        log.info("apply.done", service=service, outcome=report.outcome, stage=report.stage, reason=report.reason)
        return report

    def remove(self, service: str, offer: int) -> ApplyReport:
        """Stop a service that the rack should not run; its state directory stays."""
        report = ApplyReport(offer, service, outcome="unchanged", stage="remove")
        directories = self.directories(service)
        try:
            with self._lock():
                if not directories.current.is_symlink() and not directories.unit_file.exists():
                    return report
                self._forget(directories)
                report.outcome = "kept"
        except (OSError, UnitError) as error:
            report.outcome, report.reason = "failed", _words(error)
        return report

    def resume(self) -> tuple[str, ...]:
        """At the start: undo what was interrupted and see that everything applied runs; what could not be started.

        Needs nothing but this host's own disk.
        """
        broken = []
        with self._lock():
            base = self._root / "services"
            for directories in (
                self.directories(path.name) for path in (sorted(base.iterdir()) if base.is_dir() else [])
            ):
                if directories.service not in self._specs:
                    continue
                try:
                    if (directories.base / releases.JOURNAL_FILE).exists():
                        self._recover(directories)
                    applied = self.applied(directories.service)
                    if applied is not None:
                        self._start(directories, applied.unit)
                except (OSError, UnitError, ChannelError) as error:
                    log.error("resume.failed", service=directories.service, reason=_words(error))
                    broken.append(directories.service)
        return tuple(broken)

    def _apply(self, wanted: Wanted, report: ApplyReport) -> None:
        bundle = wanted.bundle
        spec = self._specs.get(bundle.service)
        if spec is None:
            raise ValueError(f"service {bundle.service!r}: this rack does not know it; update the rack's software")
        directories = self.directories(bundle.service)
        references = frozenset(name for file in bundle.files for name in file.secret_references)
        fingerprint = self._secrets.fingerprint(references)
        unit = releases.make_unit(spec, directories, wanted.command)
        before = self.applied(bundle.service)
        running = before is not None and self._units.is_running(spec.name)
        if (
            before is not None
            and running
            and (before.digest, before.secrets, before.unit) == (bundle.digest, fingerprint, unit)
            and all((directories.state / file.path).exists() for file in wanted.state_files)
        ):
            if before.probes != wanted.probes:
                Applied(wanted.offer, before.release, bundle.digest, fingerprint, unit, wanted.probes).save(
                    directories.base / releases.APPLIED_FILE
                )
            report.outcome, report.digest = "unchanged", bundle.digest
            return
        begin = time.monotonic()
        directories.prepare(spec.user)
        self._before_check(spec.name)
        staged = releases.stage(bundle, directories, self._secrets)
        releases.check(spec, staged, directories)
        report.seconds["check"] = time.monotonic() - begin
        baseline = self._prober.ask_once(spec.name, wanted.probes) if running else ()
        green = frozenset(result.spec for result in baseline if result.ok)
        new = Applied(wanted.offer, staged.name, bundle.digest, fingerprint, unit, wanted.probes)
        self._write_journal(directories, before)
        try:
            self._change(spec, wanted, directories, new, running, green, report)
        except Exception as error:
            report.reason = _words(error)
            log.warning("apply.undo", service=spec.name, stage=report.stage, reason=report.reason)
            self._undo(directories, before, new, green, report)
        releases.prune(directories)

    def _change(
        self,
        spec: ServiceSpec,
        wanted: Wanted,
        directories: ServiceDirectories,
        new: Applied,
        running: bool,
        green: frozenset[ProbeSpec],
        report: ApplyReport,
    ) -> None:
        """Everything from the swap on; any exception leads to last-good."""
        report.stage = "swap"
        previous = directories.current.resolve() if directories.current.exists() else None
        link_atomically(directories.current, f"releases/{new.release}")
        report.seeded = releases.seed_state(wanted.state_files, wanted.bundle, directories, spec.user, self._secrets)
        report.stage = "activate"
        begin = time.monotonic()
        before = self._units.is_running(spec.name) and Applied.load(directories.base / "before.json")
        # State that was lost under a running daemon takes a fresh start; state that is new with this bundle does not.
        lost = previous is not None and any(
            (previous / file.source).exists() for file in wanted.state_files if file.path in report.seeded
        )
        if not before or before.unit != new.unit or lost:
            self._units.stop(spec.name)
            self._start(directories, new.unit)
            report.seconds["gap"] = time.monotonic() - begin if running else 0.0
        else:
            context = ChannelContext(spec.name, directories, self._units, previous)
            report.seconds["gap"] = channels()[spec.channel].activate(context)
        report.seconds["activate"] = time.monotonic() - begin
        report.stage = "probe"
        begin = time.monotonic()
        report.probes = self._prober.ask_until_green(spec.name, wanted.probes)
        report.seconds["probe"] = time.monotonic() - begin
        if not self._units.is_running(spec.name):
            raise Regression(f"{spec.name} does not stay up; read its log in {self._root / 'log'}")
        red = [result for result in report.probes if not result.ok]
        regressed = [result for result in red if result.spec in green]
        if regressed:
            raise Regression("; ".join(result.detail for result in regressed))
        report.stage = "keep"
        new.save(directories.base / releases.APPLIED_FILE)
        if not red:
            link_atomically(directories.last_good, f"releases/{new.release}")
            new.save(directories.base / "last-good.json")
        else:
            report.stage, report.reason = "probe", "; ".join(result.detail for result in red)
            if not running:
                report.outcome = "failed"
        (directories.base / releases.JOURNAL_FILE).unlink()
        report.digest = new.digest

    def _undo(
        self,
        directories: ServiceDirectories,
        before: Applied | None,
        new: Applied,
        green: frozenset[ProbeSpec],
        report: ApplyReport,
    ) -> None:
        """Last-good back, activated, probed."""
        back = self._back_to(directories, before)
        if back is None:
            report.outcome = "failed"
            self._forget(directories)
            (directories.base / releases.JOURNAL_FILE).unlink(missing_ok=True)
            return
        report.outcome = "undone"
        begin = time.monotonic()
        try:
            link_atomically(directories.current, f"releases/{back.release}")
            self._activate_again(directories, back, new)
            specs = tuple(spec for spec in back.probes if spec in green) or tuple(green)
            results = self._prober.ask_until_green(directories.service, specs)
            if not all(result.ok for result in results):
                # The live channel may have left the daemon in a state that only a fresh process mends.
                self._units.stop(directories.service)
                self._start(directories, back.unit)
                results = self._prober.ask_until_green(directories.service, specs)
            report.undone_ok = all(result.ok for result in results) and self._units.is_running(directories.service)
            back.save(directories.base / releases.APPLIED_FILE)
            (directories.base / releases.JOURNAL_FILE).unlink(missing_ok=True)
        except Exception as error:
            report.undone_ok = False
            report.reason = f"{report.reason}; and last-good could not be brought back: {_words(error)}"
        report.seconds["undo"] = time.monotonic() - begin
        report.digest = back.digest

    def _activate_again(self, directories: ServiceDirectories, back: Applied, new: Applied) -> None:
        service = directories.service
        if new.unit != back.unit or not self._units.is_running(service):
            self._units.stop(service)
            self._start(directories, back.unit)
            return
        try:
            context = ChannelContext(service, directories, self._units, directories.releases / new.release)
            channels()[self._specs[service].channel].activate(context)
        except (ChannelError, UnitError, OSError) as error:
            log.warning("apply.undo_restarts", service=service, reason=_words(error))
            self._units.stop(service)
            self._start(directories, back.unit)

    def _start(self, directories: ServiceDirectories, unit: Unit) -> None:
        """Install and start; the prepare command runs first, because a supervisor may start what is installed."""
        if self._units.is_running(unit.name):
            self._units.install(unit)
            return
        spec = self._specs[unit.name]
        directories.prepare(spec.user)
        if spec.prepare is not None:
            words = directories.words()
            run([substitute(item, words) for item in spec.prepare], releases.CHECK_SECONDS)
        self._units.install(unit)
        self._units.start(unit.name)

    def _recover(self, directories: ServiceDirectories) -> None:
        """A crash in the middle of an apply: what ran before runs again, from a fresh start."""
        try:
            before = Applied.load(directories.base / "before.json")
            back = self._back_to(directories, before)
            log.warning("apply.interrupted", service=directories.service, back_to=back.release if back else None)
            self._units.stop(directories.service)
            if back is None:
                self._forget(directories)
            else:
                link_atomically(directories.current, f"releases/{back.release}")
                back.save(directories.base / releases.APPLIED_FILE)
        finally:
            (directories.base / releases.JOURNAL_FILE).unlink(missing_ok=True)

    def _back_to(self, directories: ServiceDirectories, before: Applied | None) -> Applied | None:
        """Last-good if there is one, else what ran before; only what is still on the disk."""
        for candidate in (Applied.load(directories.base / "last-good.json"), before):
            if candidate is not None and (directories.releases / candidate.release).is_dir():
                return candidate
        return None

    def _forget(self, directories: ServiceDirectories) -> None:
        self._units.remove(directories.service)
        for path in (directories.current, directories.last_good):
            path.unlink(missing_ok=True)
        for name in (releases.APPLIED_FILE, "last-good.json", "before.json"):
            (directories.base / name).unlink(missing_ok=True)

    def _write_journal(self, directories: ServiceDirectories, before: Applied | None) -> None:
        (directories.base / "before.json").unlink(missing_ok=True)
        if before is not None:
            before.save(directories.base / "before.json")
        write_atomically(directories.base / releases.JOURNAL_FILE, json.dumps({"began": True}).encode(), mode=0o600)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One apply at a time on this host, whoever asks."""
        path = self._root / "run" / "apply.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _words(error: BaseException) -> str:
    """What to tell people of an exception."""
    known = (Regression, releases.CheckFailed, ChannelError, UnitError, ValueError)
    return str(error) if isinstance(error, known) else f"{type(error).__name__}: {error}"
