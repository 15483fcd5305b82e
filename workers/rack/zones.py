"""Makes RRsets live in the zones that this rack is primary for, each checked by asking as a client would.

One update holds at most 500 records and is all or nothing; a refused one is sent again in halves until the culprits are
found.  What BIND took but does not answer (a CNAME over an A) is undone by its inverse and reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from renderers.intent import ZoneIntent
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.channels.bind import BindUpdater, RrsetChange, canonical
from workers.rack.offer import Offer
from workers.rack.record_store import RecordChange, RecordStore

log = structlog.get_logger()

MESSAGE_RECORDS = 500
VERIFY_SAMPLE = 20


class ZoneKeeper:
    """The hands that keep this rack's primary zones.  `serving` says whether a service is meant to run here."""

    def __init__(self, store: RecordStore, updater: Callable[[], BindUpdater], serving: Callable[[str], bool]) -> None:
        self._store = store
        self._updater = updater
        self._serving = serving
        self.checked_seconds = 0.0

    def apply(
        self, scope: str, changes: Sequence[RecordChange], offer: Offer, failed: dict[tuple[str, str], str]
    ) -> None:
        """Make changes of one zone live; those that could not be are added to `failed`.  ChannelDown if BIND is away."""
        zone = scope.partition(":")[2].rstrip(".")
        if not changes or zone not in {item.name.rstrip(".") for item in primaries(offer)} or not self._serving("bind"):
            return
        rrsets: list[tuple[RecordChange, RrsetChange]] = []
        for change in changes:
            try:
                rrsets.append((change, _rrset_of(change)))
            except (ChannelError, KeyError, TypeError, ValueError) as error:
                failed[change.scope, change.key] = f"record {change.key}: {error}"
        updater = self._updater()
        for chunk in _chunks(rrsets):
            self._send(updater, zone, chunk, failed)
        began = time.monotonic()
        for change, rrset in rrsets:
            if (change.scope, change.key) in failed or not (found := _differs(updater, rrset)):
                continue
            failed[change.scope, change.key] = found
            inverse = self._store.value(change.scope, change.key)
            before = _rrset(inverse) if inverse is not None else RrsetChange(rrset.name, rrset.type, rrset.ttl, ())
            try:
                updater.update(zone, [before])
            except ChannelDown:
                raise
            except ChannelError as error:
                failed[change.scope, change.key] = f"{found}; and what was there could not be put back: {error}"
        self.checked_seconds += time.monotonic() - began

    def refill(self, offer: Offer) -> None:
        """Send everything stored to the zones of this rack: one was seeded anew.  ChannelDown if BIND is away."""
        for zone in primaries(offer):
            stored = self._store.values(f"zone:{zone.name}")
            changes = [RecordChange(0, f"zone:{zone.name}", key, value) for key, value in stored.items()]
            failed: dict[tuple[str, str], str] = {}
            self.apply(f"zone:{zone.name}", changes, offer, failed)
            log.info("records.refilled", zone=zone.name, count=len(changes), failed=len(failed))

    def are_whole(self, offer: Offer) -> bool:
        """Whether a sample of the stored RRsets is in BIND.  ChannelDown if BIND is away."""
        updater = self._updater()
        for zone in primaries(offer):
            stored = list(self._store.values(f"zone:{zone.name}").values())
            for value in stored[:: max(1, -(-len(stored) // VERIFY_SAMPLE))]:
                if _differs(updater, _rrset(value)):
                    return False
        return True

    def _send(
        self,
        updater: BindUpdater,
        zone: str,
        chunk: list[tuple[RecordChange, RrsetChange]],
        failed: dict[tuple[str, str], str],
    ) -> None:
        """One update is all or nothing, so a refused one is sent again in halves."""
        try:
            updater.update(zone, [rrset for _, rrset in chunk])
        except ChannelDown:
            raise
        except ChannelError as error:
            if len(chunk) == 1:
                failed[chunk[0][0].scope, chunk[0][0].key] = str(error)
                return
            middle = len(chunk) // 2
            self._send(updater, zone, chunk[:middle], failed)
            self._send(updater, zone, chunk[middle:], failed)


def primaries(offer: Offer) -> list[ZoneIntent]:
    """The zones that this rack is primary for."""
    return [zone for zone in offer.zones if zone.role == "primary"]


def _rrset(value: dict[str, Any]) -> RrsetChange:
    kind = str(value["type"]).upper()
    return RrsetChange(
        str(value["name"]), kind, int(value["ttl"]), canonical(kind, [str(item) for item in value["rdatas"]])
    )


def _rrset_of(change: RecordChange) -> RrsetChange:
    word, owner, kind = change.key.split(":", 2)[0], *change.key.rsplit(":", 1)
    owner = owner.partition(":")[2]
    if word != "rrset" or not owner.endswith(".") or not kind.isalnum():
        raise ValueError("a zone's records are rrset:<owner with trailing dot>:<TYPE>")
    if change.value is None:
        return RrsetChange(owner, kind, 0, ())
    rrset = _rrset(change.value)
    if (rrset.name.lower(), rrset.type) != (owner.lower(), kind.upper()):
        raise ValueError("owner and type do not match the key")
    if not rrset.rdatas:
        raise ValueError("it holds no data; delete it by a tombstone")
    return rrset


def _differs(updater: BindUpdater, wanted: RrsetChange) -> str | None:
    """What a client sees instead of what was wanted; None if all is well."""
    ttl, rdatas = updater.lookup(wanted.name, wanted.type)
    if not wanted.rdatas:
        return f"it is still there: {', '.join(rdatas)}" if rdatas else None
    if rdatas != wanted.rdatas:
        seen = ", ".join(rdatas) or "nothing"
        return (
            f"bind took {wanted.name} {wanted.type} and answers {seen}; another record of that name stands against it"
        )
    return None if ttl == wanted.ttl else f"{wanted.name} {wanted.type} has a TTL of {ttl} s instead of {wanted.ttl} s"


def _chunks(rrsets: list[tuple[RecordChange, RrsetChange]]) -> list[list[tuple[RecordChange, RrsetChange]]]:
    """Groups of at most MESSAGE_RECORDS records, deletions counted."""
    chunks: list[list[tuple[RecordChange, RrsetChange]]] = []
    size = MESSAGE_RECORDS + 1
    for item in rrsets:
        weight = len(item[1].rdatas) + 1
        if size + weight > MESSAGE_RECORDS:
            chunks.append([])
            size = 0
        chunks[-1].append(item)
        size += weight
    return chunks
