"""Applies one service of an offer: check, swap, activate, probe, keep or undo.

The promises: files that the daemon's own checker refuses never become current; an unchanged bundle of a running daemon
touches nothing; whatever fails after the swap (a full disk, an exception, a probe that was green and is red) brings
last-good back, activated and probed; and a crash in the middle is found by its journal and undone at the next start.
Only a regression undoes: a probe that was red before says nothing about the new files.  The probes of what ran before
count too, as long as one of the new ones is red: whoever moves a service to a wrong place must not lose the right one.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from renderers.spec import ProbeSpec, ServiceSpec
from workers.rack import release as releases
from workers.rack.channels.base import ChannelContext, ChannelError, channels, gist, run
from workers.rack.files import ServiceDirectories, link_atomically, substitute, write_atomically
from workers.rack.probing import Prober
from workers.rack.release import Applied
from workers.rack.report import LONGEST_REASON, ApplyReport, Regression, Wanted, words
from workers.rack.secret_files import SecretFiles
from workers.rack.units import Unit, UnitError, Units

log = structlog.get_logger()


class Resumed(NamedTuple):
    """What a start found: services that could not be started, and what came of applies that were interrupted."""

    broken: tuple[str, ...] = ()
    recovered: tuple[ApplyReport, ...] = ()


class Applier:
    """Applies services on this host.

    before_check: called with a service's name before its files are checked.
    reached: called with a service's name and the step that begins now; the log shows by it where an apply hangs.
    """

    def __init__(
        self,
        root: Path,
        units: Units,
        secrets: SecretFiles,
        prober: Prober,
        specs: Mapping[str, ServiceSpec],
        before_check: Callable[[str], None] = lambda service: None,
        reached: Callable[[str, str], None] = lambda service, step: None,
    ) -> None:
        self._root = root
        self._units = units
        self._secrets = secrets
        self._prober = prober
        self._specs = specs
        self._before_check = before_check
        self._reached = reached

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
            report.outcome, report.reason = "failed", words(error)
        if report.reason is not None:
            report.reason = self._secrets.hide(report.reason)[:LONGEST_REASON]
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
                if not directories.current.is_symlink() and not self._units.is_known(service):
                    return report
                self._forget(directories)
                report.outcome = "kept"
        except (OSError, UnitError) as error:
            report.outcome, report.reason = "failed", words(error)
        return report

    def resume(self) -> Resumed:
        """At the start: undo what was interrupted and see that everything applied runs.

        Needs nothing but this host's own disk.
        """
        broken: list[str] = []
        recovered: list[ApplyReport] = []
        with self._lock():
            base = self._root / "services"
            for directories in (
                self.directories(path.name) for path in (sorted(base.iterdir()) if base.is_dir() else [])
            ):
                if directories.service not in self._specs:
                    continue
                try:
                    if (directories.base / releases.JOURNAL_FILE).exists():
                        recovered.append(self._recover(directories))
                        continue
                    applied = self.applied(directories.service)
                    if applied is not None:
                        self._start(directories, applied.unit)
                except (OSError, UnitError, ChannelError) as error:
                    log.error("resume.failed", service=directories.service, reason=words(error))
                    broken.append(directories.service)
        return Resumed(tuple(broken), tuple(recovered))

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
        self._reached(spec.name, "stage")
        directories.prepare(spec.user, spec.run_mode)
        try:
            self._before_check(spec.name)
            staged = releases.stage(bundle, directories, self._secrets)
            self._reached(spec.name, "check")
            releases.check(spec, staged, directories)
            report.seconds["check"] = time.monotonic() - begin
            self._reached(spec.name, "baseline")
            old = before.probes if running and before is not None else ()
            asked = tuple(dict.fromkeys((*wanted.probes, *old)))
            baseline = self._prober.ask_once(spec.name, asked) if running else ()
            green = frozenset(result.spec for result in baseline if result.ok)
            new = Applied(wanted.offer, staged.name, bundle.digest, fingerprint, unit, wanted.probes)
            self._reached(spec.name, "journal")
            self._write_journal(directories, before, wanted.offer)
            try:
                self._change(spec, wanted, directories, new, running, green, report)
            except Exception as error:
                report.reason = self._secrets.hide(words(error))
                log.warning("apply.undo", service=spec.name, stage=report.stage, reason=report.reason)
                self._undo(directories, before, new, green, report)
        finally:
            self._reached(spec.name, "prune")
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
        self._reached(spec.name, "swap")
        previous = directories.current.resolve() if directories.current.exists() else None
        link_atomically(directories.current, f"releases/{new.release}")
        self._reached(spec.name, "seed")
        report.seeded = releases.seed_state(wanted.state_files, wanted.bundle, directories, spec.user, self._secrets)
        report.stage = "activate"
        self._reached(spec.name, "activate")
        begin = time.monotonic()
        said = self._units.mark(spec.name)
        before = self._units.is_running(spec.name) and Applied.load(directories.base / "before.json")
        # State that was lost under a running daemon takes a fresh start; state that is new with this bundle does not.
        lost = previous is not None and any(
            (previous / file.source).exists() for file in wanted.state_files if file.path in report.seeded
        )
        try:
            if not before or before.unit != new.unit or lost:
                self._units.stop(spec.name)
                self._start(directories, new.unit)
                report.seconds["gap"] = time.monotonic() - begin if running else 0.0
            else:
                context = ChannelContext(spec.name, directories, self._units, previous)
                report.seconds["gap"] = channels()[spec.channel].activate(context)
        except UnitError as error:
            text = str(error) if error.told else f"{error}: {self._last_words(spec.name, said)}"
            raise Regression(text) from error
        report.seconds["activate"] = time.monotonic() - begin
        report.stage = "probe"
        self._reached(spec.name, "probe")
        begin = time.monotonic()
        alive = self._watch_life(spec.name)
        report.probes = self._prober.ask_until_green(spec.name, wanted.probes, alive=alive)
        report.seconds["probe"] = time.monotonic() - begin
        if not alive():
            raise Regression(f"{spec.name} does not stay up: {self._last_words(spec.name, said)}")
        red = [result for result in report.probes if not result.ok]
        regressed = [result for result in red if result.spec in green]
        gone = [one for one in green if one not in wanted.probes] if red else []
        regressed += [result for result in self._prober.ask_once(spec.name, gone) if not result.ok]
        if regressed:
            raise Regression("; ".join(dict.fromkeys(result.detail for result in regressed)))
        report.stage = "keep"
        self._reached(spec.name, "keep")
        new.save(directories.base / releases.APPLIED_FILE)
        self._reached(spec.name, "last-good")
        if not red:
            link_atomically(directories.last_good, f"releases/{new.release}")
            new.save(directories.base / "last-good.json")
        else:
            report.stage, report.reason = "probe", "; ".join(result.detail for result in red)
            if not running:
                report.outcome = "failed"
        self._reached(spec.name, "clear")
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
        """Last-good back, activated, probed.  What need not be written is not: the disk may be full."""
        self._reached(directories.service, "undo")
        back = self._back_to(directories, before)
        if back is None:
            report.outcome = "failed"
            self._forget(directories)
            (directories.base / releases.JOURNAL_FILE).unlink(missing_ok=True)
            return
        report.outcome = "undone"
        begin = time.monotonic()
        try:
            self._put_back(directories, back)
            if back.release != new.release:
                shutil.rmtree(directories.releases / new.release, ignore_errors=True)
            self._activate_again(directories, back, new)
            specs = tuple(spec for spec in back.probes if spec in green) or tuple(green)
            report.undone_ok = self._prove(directories, back, specs)
            self._reached(directories.service, "undone")
            (directories.base / releases.JOURNAL_FILE).unlink(missing_ok=True)
        except Exception as error:
            report.undone_ok = False
            report.reason = f"{report.reason}; and last-good could not be brought back: {words(error)}"
        report.seconds["undo"] = time.monotonic() - begin
        report.digest = back.digest

    def _put_back(self, directories: ServiceDirectories, back: Applied) -> None:
        if directories.target(directories.current) != back.release:
            link_atomically(directories.current, f"releases/{back.release}")
        if Applied.load(directories.base / releases.APPLIED_FILE) != back:
            back.save(directories.base / releases.APPLIED_FILE)

    def _prove(self, directories: ServiceDirectories, back: Applied, specs: tuple[ProbeSpec, ...]) -> bool:
        """Whether what was put back answers; a daemon that does not gets a fresh process once."""
        service = directories.service
        results = self._prober.ask_until_green(service, specs, alive=self._watch_life(service))
        if not all(result.ok for result in results):
            # The live channel may have left the daemon in a state that only a fresh process mends.
            self._units.stop(service)
            self._start(directories, back.unit)
            results = self._prober.ask_until_green(service, specs)
        return all(result.ok for result in results) and self._units.is_running(service)

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
            log.warning("apply.undo_restarts", service=service, reason=words(error))
            self._units.stop(service)
            self._start(directories, back.unit)

    def _start(self, directories: ServiceDirectories, unit: Unit) -> None:
        """Install and start; the prepare command runs first, because a supervisor may start what is installed."""
        if self._units.is_running(unit.name) and not self._units.install(unit):
            return
        spec = self._specs[unit.name]
        directories.prepare(spec.user, spec.run_mode)
        if spec.prepare is not None:
            words = directories.words()
            run([substitute(item, words) for item in spec.prepare], releases.CHECK_SECONDS)
        self._units.install(unit)
        self._units.start(unit.name)

    def _recover(self, directories: ServiceDirectories) -> ApplyReport:
        """A crash in the middle of an apply: what ran before runs again, from a fresh start.

        The journal goes last: a recovery that fails, or is itself interrupted, is made again.
        """
        service, journal = directories.service, directories.base / releases.JOURNAL_FILE
        report = ApplyReport(_offer_of(journal), service, outcome="undone", stage="interrupted")
        report.reason = "the rack worker ended in the middle of this apply"
        back = self._back_to(directories, Applied.load(directories.base / "before.json"))
        log.warning("apply.interrupted", service=service, back_to=back.release if back else None)
        if back is None:
            report.outcome = "failed"
            self._forget(directories)
        else:
            self._put_back(directories, back)
            self._units.stop(service)
            self._start(directories, back.unit)
            report.undone_ok = self._prove(directories, back, back.probes)
            report.digest = back.digest
        journal.unlink(missing_ok=True)
        releases.prune(directories)
        return report

    def _watch_life(self, service: str) -> Callable[[], bool]:
        """A question whether the daemon has run every time one asked: supervisors start a dead one again and again."""
        died = False

        def alive() -> bool:
            nonlocal died
            died = died or not self._units.is_running(service)
            return not died

        return alive

    def _last_words(self, service: str, begin: str) -> str:
        """The end of what a daemon has said since a mark."""
        text, where = self._units.said(service, begin)
        said = gist(text)
        return f"{said} (its log is {where})" if said else f"it said nothing; its log is {where}"

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

    def _write_journal(self, directories: ServiceDirectories, before: Applied | None, offer: int) -> None:
        (directories.base / "before.json").unlink(missing_ok=True)
        if before is not None:
            before.save(directories.base / "before.json")
        write_atomically(directories.base / releases.JOURNAL_FILE, json.dumps({"offer": offer}).encode(), mode=0o600)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One apply at a time on this host, whoever asks."""
        path = self._root / "run" / "apply.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _offer_of(journal: Path) -> int:
    """The offer that was being applied; 0 if the journal is damaged or an older version's."""
    try:
        return int(json.loads(journal.read_text())["offer"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
