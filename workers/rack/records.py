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

from workers.rack.channels.base import ChannelDown
from workers.rack.channels.bind import BindUpdater
from workers.rack.host_keeper import HostKeeper
from workers.rack.offer import Offer
from workers.rack.record_store import RecordChange, RecordStore
from workers.rack.retries import Retries
from workers.rack.zones import ZoneKeeper

log = structlog.get_logger()

NAMED_REQUESTS = 20


class RecordsLater(Exception):
    """A daemon does not answer: ask again later, nothing is lost."""


@dataclass
class RecordsReport:
    """How a batch went."""

    applied: int
    failed: list[dict[str, Any]] = field(default_factory=list)
    mended: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    request_id: str | None = None

    def as_data(self) -> dict[str, Any]:
        """The JSON form of rackapi."""
        return {
            "applied": self.applied,
            "failed": self.failed,
            "mended": self.mended,
            "seconds": round(self.seconds, 4),
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
    ) -> None:
        self.store = store
        self.retries = Retries(clock)
        self.hosts = hosts
        self.zones = ZoneKeeper(store, updater, serving)

    def apply(self, changes: Sequence[RecordChange], last: int, offer: Offer) -> RecordsReport:
        """Make a batch live and remember it.  RecordsLater if a daemon does not answer."""
        begin = time.monotonic()
        latest: dict[tuple[str, str], RecordChange] = {}
        for change in sorted(changes, key=lambda item: item.sequence):
            if change.scope in offer.scopes:
                latest[change.scope, change.key] = change
        todo = [item for item in latest.values() if self.store.value(item.scope, item.key) != item.value]
        failed = self._make_live(todo, offer)
        self.store.advance(last)
        self.retries.note(latest.values(), failed)
        asked = list(dict.fromkeys(item.request_id for item in todo if item.request_id))[:NAMED_REQUESTS]
        report = RecordsReport(last, seconds=time.monotonic() - begin, request_id=" ".join(asked) or None)
        for (scope, key), reason in failed.items():
            report.failed.append(
                {"sequence": latest[scope, key].sequence, "scope": scope, "key": key, "reason": reason}
            )
        if todo:
            log.info(
                "records.applied",
                count=len(todo),
                failed=len(report.failed),
                seconds=round(report.seconds, 3),
                request_id=report.request_id,
            )
        return report

    def retry(self, offer: Offer) -> None:
        """Try the failed records again whose time has come; `retries.mended` has those that came right, until told.

        RecordsLater if a daemon does not answer: they are due still.
        """
        due = [item for item in self.retries.due() if item.scope in offer.scopes]
        if due:
            failed = self._make_live(due, offer)
            self.retries.tried(due, failed)
            log.info("records.retried", count=len(due), failed=len(failed))

    def _make_live(self, todo: Sequence[RecordChange], offer: Offer) -> dict[tuple[str, str], str]:
        """Make changes live and remember those that are; the others, with the reason.  RecordsLater."""
        failed: dict[tuple[str, str], str] = {}
        hosts = [item for item in todo if item.scope.startswith("vlan:")]
        try:
            failed.update(self.hosts.apply(hosts, offer))
            self.store.commit(item for item in hosts if (item.scope, item.key) not in failed)
            for scope in sorted({item.scope for item in todo if item.scope.startswith("zone:")}):
                mine = [item for item in todo if item.scope == scope]
                self.zones.apply(scope, mine, offer, failed)
                self.store.commit(item for item in mine if (item.scope, item.key) not in failed)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error
        return failed

    def refill_zones(self, offer: Offer) -> None:
        """Send everything stored to the zones of this rack: one was seeded anew.  RecordsLater if BIND is away."""
        try:
            self.zones.refill(offer)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error

    def zones_are_whole(self, offer: Offer) -> bool:
        """Whether a sample of the stored RRsets is in BIND.  RecordsLater if BIND is away."""
        try:
            return self.zones.are_whole(offer)
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error
