"""How records come to this rack and stay as they should be: snapshots, the tail, retries, digests.

A scope that is new here, or of which something was given up while the rack was away, comes as a snapshot, bucket by
bucket, and only that scope; where it breaks off it goes on.  Everything else is the tail: what is newer than the
sequence read so far.  A rack that has much to read looks after each page for what was changed meanwhile, and makes that
live first: somebody waits for it.  Now and then the digests of all scopes are compared with the control plane's, and what the daemons
hold with the rack's own copy; where they differ, that bucket is read again and mended, and people are told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import structlog

from renderers.record_digest import BUCKETS, bucket_of
from workers.rack import host_drift
from workers.rack.channels.base import ChannelDown
from workers.rack.client import ControlPlane
from workers.rack.host_drift import HostDrift
from workers.rack.offer import Offer, request_ids
from workers.rack.record_store import RecordChange
from workers.rack.records import RecordKeeper, RecordsLater, RecordsReport
from workers.rack.zones import primaries

log = structlog.get_logger()

COMPARE_SECONDS = 60.0
READ_BACK_SECONDS = 300.0
SOON_SECONDS = 5.0
NAMED_KEYS = 20
OVERTAKING = 100
"""Words that may be made live before a backlog at once; more are a backlog of their own."""


class RecordFlow:
    """The records of one rack, between the control plane and the keeper.  zones_unsure: a zone may have lost some."""

    def __init__(
        self,
        keeper: RecordKeeper,
        client: ControlPlane,
        serving: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keeper = keeper
        self.zones_unsure = True
        self._store = keeper.store
        self._client = client
        self._serving = serving
        self._clock = clock
        self._reported: int | None = None
        self._recovered = False
        self._compare_at = 0.0
        self._news_after: int | None = None
        self._read_back_at = clock() + READ_BACK_SECONDS
        self._reading: tuple[Offer, Iterator[None]] | None = None

    def take(self, offer: Offer) -> None:
        """Make record changes live until there are no more."""
        if not self._recovered:
            self.keeper.recover(offer)
            if known := self._store.failed():
                self._say(RecordsReport(self._store.sequence, failed=[_failure(*found) for found in known.values()]))
            self._recovered = True
        self._store.serve_scopes(offer.scopes)
        if self.zones_unsure and self._serving("bind"):
            if not self.keeper.zones_are_whole(offer):
                self.keeper.refill_zones(offer)
            self.keeper.raise_serials(offer)
            self.zones_unsure = False
        self._news_after = None
        self._take_snapshots(offer)
        self._take_tail(offer)

    def retry(self, offer: Offer) -> None:
        """Try failed records again when their time has come, and withdraw the failures of those that came right."""
        retries = self.keeper.retries
        self.keeper.retry(offer)
        if retries.mended:
            self._client.report_records(RecordsReport(self._store.sequence, mended=list(retries.mended)).as_data())
            retries.mended.clear()

    def check(self, offer: Offer, woken: Callable[[], bool] = lambda: False) -> None:
        """Find what differs, when it is time, and mend it.  RecordsLater.

        woken: whether somebody waits for a record: then it returns soon, and goes on where it was the next time.
        """
        now = self._clock()
        if now >= self._compare_at and not self._store.missing() and not self._store.ahead():
            self._compare_at = now + (COMPARE_SECONDS if self._compare(offer) else SOON_SECONDS)
        if now >= self._read_back_at:
            self._read_back_at = now + READ_BACK_SECONDS
            self._reading = offer, self._read_back(offer)
        if self._reading is not None and self._reading[0] is not offer:  # What was read so far may be served no more.
            self._reading = offer, self._read_back(offer)
        while self._reading is not None and not woken():
            reading, self._reading = self._reading, None
            for _ in islice(reading[1], 1):
                self._reading = reading

    def _read_back(self, offer: Offer) -> Iterator[None]:
        """Compare what the daemons hold with the rack's own copy, and mend the keys that differ, step by step.  RecordsLater."""
        hosts = host_drift.walk(self._store, self.keeper.hosts, offer)
        while True:
            try:
                drift = next(hosts)
            except StopIteration:
                break
            except ChannelDown as error:
                raise RecordsLater(str(error)) from error
            if drift is not None:
                self._say_drift(drift.scope, "daemon", drift.wrong, self._mend_daemon(drift, offer))
            yield
        for zone in primaries(offer) if self._serving("bind") else ():
            found, left = self.keeper.zone_drift(zone, offer)
            if found:
                self._say_drift(f"zone:{zone.name}", "daemon", found, left)
            yield

    def _mend_daemon(self, drift: HostDrift, offer: Offer) -> list[str]:
        """Send what is lost or changed again; a host that is nobody's makes its whole subnet be loaded anew."""
        try:
            if not drift.strange:
                refused = self.keeper.serve_again([(drift.scope, key) for key in drift.wrong], offer)
                return [key for _, key in refused]
            return sorted(self.keeper.hosts.mend(offer, {drift.subnet_id}))
        except ChannelDown as error:
            raise RecordsLater(str(error)) from error

    def _take_snapshots(self, offer: Offer) -> None:
        while missing := self._store.missing():
            answer = self._client.snapshot({scope: (first, BUCKETS - 1) for scope, first in missing.items()})
            parts, as_of = list(answer.get("parts", ())), int(answer["as_of"])
            if not parts:
                return
            if self._news_after is None:
                self._news_after = as_of
            for part in parts:
                report = self._take_part(part, as_of, offer)
                self._store.have(str(part["scope"]), int(part["last"]), as_of)
                if report.failed:
                    self._say(report)
                if part["records"]:
                    self._overtake(offer)

    def _take_part(self, part: dict[str, Any], as_of: int, offer: Offer) -> RecordsReport:
        scope, first, last = str(part["scope"]), int(part["first"]), int(part["last"])
        words = [change_of({**item, "scope": scope}) for item in part["records"]]
        return self.keeper.apply_part(scope, first, last, words, as_of, offer)

    def _take_tail(self, offer: Offer) -> None:
        more = True
        while more:
            asked = time.monotonic()
            page = self._client.records(self._store.sequence)
            fetched = time.monotonic() - asked
            self._believe(page)
            if missed := page.get("snapshot"):
                self._store.miss(str(scope) for scope in missed)
                self._take_snapshots(offer)
            changes = [change_of(item) for item in page.get("records", [])]
            more = bool(page.get("more")) and bool(changes)
            last = max(change.sequence for change in changes) if more else int(page.get("last") or 0)
            if not changes and last <= self._store.sequence and self._reported == self._store.sequence:
                return
            report = self.keeper.apply(changes, last, offer)
            self._say(report, {"fetched": page.get("now"), "fetch": fetched})
            if more:
                if self._news_after is None and "highest" in page:  # A control plane of before does not say.
                    self._news_after = int(page["highest"])
                self._overtake(offer)

    def _believe(self, page: dict[str, Any]) -> None:
        """A control plane that was restored from a backup knows nothing of words that overtook others: neither do we."""
        if lost := [key for key, number in self._store.ahead().items() if number > int(page.get("highest", number))]:
            self._store.not_ahead(lost)

    def _overtake(self, offer: Offer) -> None:
        """Make live what was changed since this rack began to catch up, before it goes on with the rest."""
        if self._news_after is None:
            return
        asked = time.monotonic()
        page = self._client.records(self._news_after, OVERTAKING)
        fetched = time.monotonic() - asked
        if page.get("more"):  # Not one change but many: they come in their turn, and what is newer still may overtake.
            self._news_after = int(page.get("highest") or self._news_after)
            return
        if words := [change_of(item) for item in page.get("records", [])]:
            report = self.keeper.overtake(words, offer)
            if report.count:
                self._say(report, {"fetched": page.get("now"), "fetch": fetched})
        self._news_after = max(self._news_after, int(page.get("last") or 0))

    def _compare(self, offer: Offer) -> bool:
        """Compare the digests of all scopes with the control plane's; whether they could be."""
        scopes = sorted(self._store.scopes)
        answer = self._client.compare(self._store.sequence, self._store.roots(scopes))
        if not answer.get("comparable"):
            return False
        differ: dict[str, dict[str, int]] = answer.get("differ") or {}
        for scope, theirs in sorted(differ.items()):
            mine = self._store.digests([scope])[scope]
            wrong = [bucket for bucket in range(BUCKETS) if mine.get(bucket, 0) != theirs.get(str(bucket), 0)]
            self._mend_store(scope, wrong, offer)
        return not differ

    def _mend_store(self, scope: str, wrong: Sequence[int], offer: Offer) -> None:
        """Read some buckets again, each with its neighbours that differ too."""
        found: list[str] = []
        left: list[str] = []
        todo = list(wrong)
        while todo:
            first = last = todo[0]
            while last + 1 in todo:
                last += 1
            answer = self._client.snapshot({scope: (first, last)})
            parts = list(answer.get("parts", ()))
            if not parts:
                return
            for part in parts:
                words = [change_of({**item, "scope": scope}) for item in part["records"]]
                differing = self._store.difference(
                    scope, int(part["first"]), int(part["last"]), words, int(answer["as_of"])
                )
                found += [word.key for word in differing]
                report = self._take_part(part, int(answer["as_of"]), offer)
                left += [str(item["key"]) for item in report.failed]
                todo = [bucket for bucket in todo if bucket > int(part["last"])]
                if report.failed:
                    self._say(report)
        if found:
            self._say_drift(scope, "store", found, left)

    def _say(self, report: RecordsReport, timing: dict[str, Any] | None = None) -> None:
        self._client.report_records({**report.as_data(timing), "applied": self._store.sequence})
        self._reported = self._store.sequence

    def _say_drift(self, scope: str, place: str, found: Sequence[str], left: Sequence[str]) -> None:
        buckets = len({bucket_of(key) for key in found})
        log.warning("records.drifted", scope=scope, place=place, buckets=buckets, found=len(found), left=len(left))
        self._client.report_drift(
            {
                "scope": scope,
                "place": place,
                "buckets": buckets,
                "found": len(found),
                "left": len(left),
                "keys": [*left, *(key for key in found if key not in left)][:NAMED_KEYS],
            }
        )


def _failure(change: RecordChange, reason: str) -> dict[str, Any]:
    return {"sequence": change.sequence, "scope": change.scope, "key": change.key, "reason": reason}


def change_of(item: dict[str, Any]) -> RecordChange:
    """A record change as the control plane writes it."""
    value = item["value"]
    return RecordChange(
        int(item["sequence"]),
        str(item["scope"]),
        str(item["key"]),
        dict(value) if value is not None else None,
        request_ids(item.get("request_id")),
    )
