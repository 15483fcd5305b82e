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

from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.channels.bind import BindUpdater
from workers.rack.hosts import Host, HostFiles, check_as_client, conflicts, parse_host, parse_key
from workers.rack.offer import Offer, SubnetOffer
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
        files: HostFiles,
        updater: Callable[[], BindUpdater],
        serving: Callable[[str], bool],
        dhcp_port: int = 67,
        check_hosts: Callable[..., dict[tuple[int, str], str]] = check_as_client,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.retries = Retries(clock)
        self._files = files
        self.zones = ZoneKeeper(store, updater, serving)
        self._serving = serving
        self._dhcp_port = dhcp_port
        self._check_hosts = check_hosts

    def write_host_files(self, offer: Offer) -> None:
        """Before Kea reads a structure: the included file of every subnet exists and holds the stored hosts."""
        stored: dict[int, list[Host]] = {subnet.subnet_id: [] for subnet in offer.subnets if ":" not in subnet.cidr}
        for scope in {f"vlan:{subnet.vlan_id}" for subnet in offer.subnets}:
            for key, value in self.store.values(scope).items():
                host = parse_host(key, value)
                stored.setdefault(host.subnet_id, []).append(host)
        for subnet_id, hosts in stored.items():
            self._files.write(subnet_id, hosts)

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
            self._apply_hosts(hosts, offer, failed)
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

    def _apply_hosts(self, changes: list[RecordChange], offer: Offer, failed: dict[tuple[str, str], str]) -> None:
        subnets = {subnet.subnet_id: subnet for subnet in offer.subnets}
        good: list[RecordChange] = []
        for change in changes:
            try:
                parse_key(change.key) if change.value is None else parse_host(change.key, change.value)
                good.append(change)
            except ValueError as error:
                failed[change.scope, change.key] = str(error)
        good = self._without_conflicts(good, subnets, failed)
        if not good:
            return
        if not self._serving("kea4"):
            self._write(good, {})
            return
        self._activate_hosts(good, subnets, failed)

    def _without_conflicts(
        self, changes: list[RecordChange], subnets: dict[int, SubnetOffer], failed: dict[tuple[str, str], str]
    ) -> list[RecordChange]:
        """Changes that fit beside what is there; stored hosts come first, so the newcomer is refused."""
        changed = {(item.scope, item.key) for item in changes}
        for scope in {item.scope for item in changes}:
            stored = [
                parse_host(key, value) for key, value in self.store.values(scope).items() if (scope, key) not in changed
            ]
            new = [
                parse_host(item.key, item.value) for item in changes if item.scope == scope and item.value is not None
            ]
            for subnet_id in {host.subnet_id for host in new}:
                ordered = [host for host in [*stored, *new] if host.subnet_id == subnet_id]
                for (_, mac), reason in conflicts(ordered, subnets.get(subnet_id)).items():
                    failed[scope, f"host:{subnet_id}:{mac}"] = reason
        return [item for item in changes if (item.scope, item.key) not in failed]

    def _activate_hosts(
        self, changes: list[RecordChange], subnets: dict[int, SubnetOffer], failed: dict[tuple[str, str], str]
    ) -> None:
        """Write and send; if Kea refuses, back, and in halves until the culprits are found."""
        self._write(changes, {})
        try:
            self._files.activate()
            set_now = [parse_host(item.key, item.value) for item in changes if item.value is not None]
            self._files.end_leases(set_now, self._gone(changes))
            wrong = self._check_hosts(set_now, subnets, self._files, self._dhcp_port)
        except ChannelDown:
            self._write([], {(item.scope, item.key) for item in changes})
            raise
        except ChannelError as error:
            self._write([], {(item.scope, item.key) for item in changes})
            self._files.activate()
            if len(changes) == 1:
                failed[changes[0].scope, changes[0].key] = str(error)
                return
            middle = len(changes) // 2
            for half in (changes[:middle], changes[middle:]):
                self._activate_hosts(half, subnets, failed)
                self.store.commit(item for item in half if (item.scope, item.key) not in failed)
            return
        if wrong:
            bad = [item for item in changes if parse_key(item.key) in wrong]
            failed.update({(item.scope, item.key): wrong[parse_key(item.key)] for item in bad})
            self._write([item for item in changes if item not in bad], {(item.scope, item.key) for item in bad})
            self._files.activate()

    def _gone(self, changes: list[RecordChange]) -> list[Host]:
        """The hosts that these changes take away or move, as they were."""
        before = ((item, self.store.value(item.scope, item.key)) for item in changes)
        hosts = [(item, parse_host(item.key, value)) for item, value in before if value is not None]
        return [host for item, host in hosts if item.value is None or item.value["address"] != host.address]

    def _write(self, changes: list[RecordChange], back: set[tuple[str, str]] | dict[tuple[str, str], str]) -> None:
        """Write the files of all subnets touched: what is stored, with these changes; `back` names keys that only touch."""
        touched = {(item.scope, parse_key(item.key)[0]) for item in changes}
        touched |= {(scope, parse_key(key)[0]) for scope, key in back}
        for scope in {scope for scope, _ in touched}:
            hosts = {key: parse_host(key, value) for key, value in self.store.values(scope).items()}
            for item in changes:
                if item.scope == scope:
                    hosts.pop(item.key, None)
                    if item.value is not None:
                        hosts[item.key] = parse_host(item.key, item.value)
            for subnet_id in {subnet_id for name, subnet_id in touched if name == scope}:
                self._files.write(subnet_id, [host for host in hosts.values() if host.subnet_id == subnet_id])
