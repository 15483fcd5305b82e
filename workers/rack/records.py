"""Makes record changes live: hosts in Kea, RRsets in BIND, each checked by asking as a client would.

A batch is coalesced (the last change of a key counts), so a thousand hosts cost one `config-set`.  What cannot be made
live is undone by its inverse and reported with its key and the reason; the rest goes on.  A record that failed is tried
again, with growing pauses and soon after another of its scope has changed, and its failure is withdrawn when it comes
right.  A daemon that is down is no failure of a record: `RecordsLater` asks for the same batch again.  Records whose
VLAN or zone this rack's offer does not serve yet are stored, and take effect with the structure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from renderers.intent import ZoneIntent
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.channels.bind import BindUpdater
from workers.rack.files import ServiceDirectories
from workers.rack.host_keeper import HostKeeper
from workers.rack.offer import Offer
from workers.rack.record_store import RecordChange, RecordStore, Unfinished
from workers.rack.retries import Retries
from workers.rack.zones import ZoneKeeper

log = structlog.get_logger()

NAMED_REQUESTS = 20
REDO = 2
"""How often a batch that ended the process is sent again before it is undone."""


class RecordsLater(Exception):
    """A daemon does not answer: ask again later, nothing is lost."""


@dataclass
class RecordsReport:
    """How a batch went. seconds: all of it; checked: the part of it that was spent asking as a client."""

    applied: int
    count: int = 0
    newest: int | None = None
    failed: list[dict[str, Any]] = field(default_factory=list)
    mended: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    checked: float = 0.0
    request_id: str | None = None

    def as_data(self, timing: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON form of rackapi. timing: `fetched`, when the control plane sent it, by its clock; `fetch`, on the wire."""
        stages = {"fetch": (timing or {}).get("fetch"), "daemon": self.seconds - self.checked, "check": self.checked}
        return {
            "applied": self.applied,
            "count": self.count,
            "newest": self.newest,
            "failed": self.failed,
            "mended": self.mended,
            "seconds": {name: round(value, 5) for name, value in stages.items() if value is not None},
            "fetched": (timing or {}).get("fetched"),
            "request_id": self.request_id,
        }


class RecordKeeper:
    """The hands that make records live.  `serving` says whether a service is meant to run here."""

    def __init__(
        self,
        store: RecordStore,
        hosts: HostKeeper,
        updater: Callable[[], BindUpdater],
        serving: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
        bind: ServiceDirectories | None = None,
    ) -> None:
        self.store = store
        self.retries = Retries(clock)
        self._unfinished = store.unfinished()
        known = store.failed(tried_again=True)
        self.retries.note([word for word, _ in known.values()], known.keys())
        self.hosts = hosts
        self.zones = ZoneKeeper(store, updater, serving, bind)

    def apply(self, changes: Sequence[RecordChange], last: int, offer: Offer) -> RecordsReport:
        """Make a batch live and remember it.  RecordsLater if a daemon does not answer."""
        begin = time.monotonic()
        latest: dict[tuple[str, str], RecordChange] = {}
        for change in sorted(changes, key=lambda item: item.sequence):
            if change.scope in offer.scopes:
                latest[change.scope, change.key] = change
        held, known, ahead = self.store.held(latest.values()), self.store.failed(), self.store.ahead()
        latest = {key: item for key, item in latest.items() if item.sequence >= ahead.get(key, 0)}
        fresh = [item for key, item in latest.items() if key not in known or known[key][0].sequence < item.sequence]
        todo = [item for item in fresh if held.get((item.scope, item.key)) != item.value]
        self.store.settled(item for item in fresh if held.get((item.scope, item.key)) == item.value)
        failed = self._make_live(todo, offer)
        self.store.advance(last)
        self.retries.note(fresh, failed)
        return self._report(last, todo, failed, time.monotonic() - begin)

    def overtake(self, changes: Sequence[RecordChange], offer: Offer) -> RecordsReport:
        """Make words live that are newer than a backlog that is still being read.  RecordsLater if a daemon is away.

        What cannot be live now may need a word that is still to come (an address may have to become free): it is put back,
        not called failed, and comes again in its turn.
        """
        begin = time.monotonic()
        latest = {(item.scope, item.key): item for item in changes if item.scope in offer.scopes}
        held = self.store.held(latest.values())
        todo = [item for key, item in latest.items() if held.get(key) != item.value]
        failed: dict[tuple[str, str], str] = {}
        if latest:
            self.store.begin(todo, ahead=latest.values())
            failed = self._carry_out(todo, offer)
            self.store.not_ahead(failed)
            self.store.end()
        live = [item for item in todo if (item.scope, item.key) not in failed]
        self.retries.note(live, ())
        return self._report(self.store.sequence, live, {}, time.monotonic() - begin)

    def apply_part(
        self, scope: str, first: int, last: int, words: Sequence[RecordChange], as_of: int, offer: Offer
    ) -> RecordsReport:
        """Make some buckets of a scope exactly what a snapshot says.  RecordsLater if a daemon does not answer."""
        begin = time.monotonic()
        todo = self.store.difference(scope, first, last, words, as_of)
        failed = self._make_live(todo, offer)
        self.retries.note(todo, failed)
        return self._report(self.store.sequence, todo, failed, time.monotonic() - begin)

    def recover(self, offer: Offer) -> RecordsReport | None:
        """Finish what was being made live when this process ended before; None when there was nothing.

        What was asked for is sent again, as it is still wanted and idempotent.  When that has ended the process REDO
        times it is undone by its inverse instead, and reported as failed, so that no batch keeps a rack down.
        """
        found, self._unfinished = self._unfinished, None
        if found is None:
            return None
        try:
            return self._take_up(found, offer)
        except RecordsLater:
            self._unfinished = found
            raise

    def _take_up(self, found: Unfinished, offer: Offer) -> RecordsReport:
        begin = time.monotonic()
        held = self.store.held(found.changes)
        open_ones = {
            (item.scope, item.key)
            for item in found.changes
            if item.scope in offer.scopes and held.get((item.scope, item.key)) != item.value
        }
        mine = [item for item in found.changes if (item.scope, item.key) in open_ones]
        if found.tries <= REDO:
            failed = self._make_live(mine, offer)
            self.store.end()
            self.retries.note(mine, failed)
        else:
            reason = f"the rack's agent ended {found.tries - 1} times while it was made live; what was there is served"
            failed = self.undo([item for item in found.inverse if (item.scope, item.key) in open_ones], offer, reason)
            self.store.fail(mine, failed, final=True)
            self.store.end()
        log.warning("records.recovered", count=len(mine), failed=len(failed), tries=found.tries)
        return self._report(self.store.sequence, mine, failed, time.monotonic() - begin)

    def undo(self, inverse: Sequence[RecordChange], offer: Offer, reason: str) -> dict[tuple[str, str], str]:
        """Put back what was there before a batch; why each of its words is not live.  RecordsLater."""
        left = self._carry_out(inverse, offer)
        failed = {(item.scope, item.key): reason for item in inverse}
        return failed | {key: f"{reason}, except that it could not be put back: {words}" for key, words in left.items()}

    def retry(self, offer: Offer) -> None:
        """Try the failed records again whose time has come; `retries.mended` has those that came right, until told.

        RecordsLater if a daemon does not answer: they are due still.
        """
        due = [item for item in self.retries.due() if item.scope in offer.scopes]
        if due:
            failed = self._make_live(due, offer)
            self.retries.tried(due, failed)
            log.info("records.retried", count=len(due), failed=len(failed))

    def serve_again(self, keys: Sequence[tuple[str, str]], offer: Offer) -> dict[tuple[str, str], str]:
        """Send what the store holds of these keys to the daemons, which have lost it; what they refuse.  RecordsLater."""
        changes = [RecordChange(0, scope, key, self.store.value(scope, key)) for scope, key in keys]
        return self._carry_out(changes, offer, remember=False)

    def tend_hosts(self, offer: Offer, pid: Callable[[str], int | None]) -> None:
        """See that DHCP servers that were started since have exactly the stored hosts.  RecordsLater if one is away."""
        try:
            self.hosts.tend(offer, pid)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error

    def settle_hosts(self, offer: Offer) -> None:
        """Have hosts that a daemon keeps in its memory written down; the structure must stay.  RecordsLater."""
        try:
            self.hosts.settle(offer)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error

    def _make_live(self, todo: Sequence[RecordChange], offer: Offer) -> dict[tuple[str, str], str]:
        """Make changes live and remember those that are; the others, with the reason.  RecordsLater.

        The journal has them from before a daemon is touched until all is written down.
        """
        if not todo:
            return {}
        self.store.begin(todo)
        failed = self._carry_out(todo, offer)
        self.store.fail(todo, failed)
        self.store.end()
        return failed

    def _carry_out(
        self, todo: Sequence[RecordChange], offer: Offer, remember: bool = True
    ) -> dict[tuple[str, str], str]:
        failed: dict[tuple[str, str], str] = {}
        hosts = [item for item in todo if item.scope.startswith("vlan:")]
        try:
            failed.update(self.hosts.apply(hosts, offer))
            if remember:
                self.store.commit(item for item in hosts if (item.scope, item.key) not in failed)
            for scope in sorted({item.scope for item in todo if item.scope.startswith("zone:")}):
                mine = [item for item in todo if item.scope == scope]
                self.zones.apply(scope, mine, offer, failed)
                if remember:
                    self.store.commit(item for item in mine if (item.scope, item.key) not in failed)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error
        return failed

    def _report(
        self, last: int, todo: Sequence[RecordChange], failed: dict[tuple[str, str], str], seconds: float
    ) -> RecordsReport:
        asked = list(dict.fromkeys(item.request_id for item in todo if item.request_id))[:NAMED_REQUESTS]
        report = RecordsReport(
            last,
            count=len(todo),
            newest=max((item.sequence for item in todo), default=None),
            seconds=seconds,
            checked=self._checked(),
            request_id=" ".join(asked) or None,
        )
        sequences = {(item.scope, item.key): item.sequence for item in todo}
        for (scope, key), reason in failed.items():
            report.failed.append({"sequence": sequences[scope, key], "scope": scope, "key": key, "reason": reason})
        if todo:
            log.info(
                "records.applied",
                count=len(todo),
                failed=len(report.failed),
                seconds=round(report.seconds, 3),
                request_id=report.request_id,
            )
        return report

    def _checked(self) -> float:
        """Seconds spent asking as a client since this was asked last."""
        checked = self.hosts.checked_seconds + self.zones.checked_seconds
        self.hosts.checked_seconds = self.zones.checked_seconds = 0.0
        return checked

    def refill_zones(self, offer: Offer) -> None:
        """Send everything stored to the zones of this rack: one was seeded anew.  RecordsLater if BIND is away."""
        try:
            self.zones.refill(offer)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error

    def raise_serials(self, offer: Offer) -> None:
        """See that no zone's serial is behind one that somebody has seen.  RecordsLater if BIND is away."""
        try:
            self.zones.raise_serials(offer)
        except ChannelError as error:
            raise RecordsLater(str(error)) from error

    def zone_drift(self, zone: ZoneIntent, offer: Offer) -> tuple[list[str], list[str]]:
        """Mend what somebody else has changed in a zone: the keys found, and those left.  RecordsLater."""
        try:
            found = self.zones.drifted(zone)
            left = self.zones.put_back(zone, found, offer) if found else {}
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error
        return sorted(found), [key for _, key in left]

    def zones_are_whole(self, offer: Offer) -> bool:
        """Whether a sample of the stored RRsets is in BIND.  RecordsLater if BIND is away."""
        try:
            return self.zones.are_whole(offer)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error
