"""Makes RRsets live in the zones that this rack is primary for, each checked by asking as a client would.

One update holds at most 500 records and is all or nothing; a refused one is sent again in halves until the culprits are
found.  It requires that what it replaces is what this rack put there: what somebody else has changed is told in
`foreign` and replaced.  What BIND took but does not answer (a CNAME over an A) is undone by its inverse and reported.
More changes than `WHOLE_RECORDS` go by writing the zone whole: freeze, write, thaw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from renderers.intent import ZoneIntent
from renderers.services.bind import USER, zone_file
from workers.rack.channels.base import ChannelDown, ChannelError, run
from workers.rack.channels.bind import BindControl, BindUpdater, ForeignChange, Replacement, RrsetChange, canonical
from workers.rack.files import ServiceDirectories, write_atomically
from workers.rack.offer import Offer
from workers.rack.record_store import RecordChange, RecordStore
from workers.rack.zone_files import after, serial_above, soa_of, zone_text

log = structlog.get_logger()

MESSAGE_RECORDS = 500
MESSAGE_CHARACTERS = 24_000
WHOLE_RECORDS = 2000
VERIFY_SAMPLE, VERIFY_WHOLE = 20, 200
FOREIGN_TRIES = 3
LOAD_SECONDS = 30.0
CHECK_SECONDS = 120.0
Failed = dict[tuple[str, str], str]
Pair = tuple[RecordChange, RrsetChange]


class ZoneKeeper:
    """The hands that keep this rack's primary zones.  `serving` says whether a service is meant to run here.

    directories: where BIND's files are; without them no zone is written whole.  foreign: what somebody else had changed,
    until it was told.
    """

    def __init__(
        self,
        store: RecordStore,
        updater: Callable[[], BindUpdater],
        serving: Callable[[str], bool],
        directories: ServiceDirectories | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._updater = updater
        self._serving = serving
        self._directories = directories
        self._clock = clock
        self.checked_seconds = 0.0
        self.foreign: list[dict[str, str]] = []
        self.seen_serials: dict[str, int] = {}
        self._own_serials: dict[str, int] = {}
        self._unsure: set[str] = set()

    def apply(self, scope: str, changes: Sequence[RecordChange], offer: Offer, failed: Failed) -> None:
        """Make changes of one zone live; those that could not be are added to `failed`.  ChannelDown if BIND is away."""
        zone = self._zone_of(scope, offer)
        if not changes or zone is None or not self._serving("bind"):
            return
        if len(changes) > WHOLE_RECORDS and self._apply_whole(zone, changes):
            return
        pairs: list[Pair] = []
        for change in changes:
            try:
                pairs.append((change, _rrset_of(change)))
            except (ChannelError, KeyError, TypeError, ValueError) as error:
                failed[change.scope, change.key] = f"record {change.key}: {error}"
        stored = self._stored(scope, [change for change, _ in pairs])
        self._send_all(zone.name, pairs, stored, failed)

    def read(self, zone: str) -> dict[str, dict[str, Any]]:
        """What a zone holds on this rack's BIND, by the keys and in the form of its records.  ChannelDown.

        It is what digests of the zone are made from; primary or secondary makes no difference.
        """
        return {
            f"rrset:{name}:{kind}": {"name": name, "type": kind, "ttl": ttl, "rdatas": list(rdatas)}
            for (name, kind), (ttl, rdatas) in self._updater().read_zone(zone).items()
        }

    def drifted(self, zone: ZoneIntent) -> dict[str, dict[str, Any] | None]:
        """Keys that a zone holds otherwise than this rack's copy says, with what they should hold.  ChannelDown.

        The zone is read only when its serial is not the one that our own last change left.
        """
        present = self._updater().serials([zone.name]).get(zone.name)
        if present is None or (self._own_serials.get(zone.name) == present and zone.name not in self._unsure):
            return {}
        held, wanted = self.read(zone.name), self._store.values(f"zone:{zone.name}")
        server = f"{zone.nameserver.rstrip('.')}."
        seeded = {f"rrset:{zone.name.rstrip('.')}.:NS", f"rrset:{server}:A", f"rrset:{server}:AAAA"}
        found: dict[str, dict[str, Any] | None] = {}
        for key, value in wanted.items():
            rrset, seen = _rrset(value), held.get(key)
            if seen is None or _difference(rrset, (seen["ttl"], tuple(seen["rdatas"]))) is not None:
                found[key] = value
        found |= dict.fromkeys(held.keys() - wanted.keys() - seeded)
        if not found:
            self._own_serials[zone.name] = present
            self._unsure.discard(zone.name)
        return found

    def put_back(self, zone: ZoneIntent, found: dict[str, dict[str, Any] | None], offer: Offer) -> Failed:
        """Make the keys of `drifted` be as they should; those that could not be.  ChannelDown."""
        scope = f"zone:{zone.name}"
        failed: Failed = {}
        self.apply(scope, [RecordChange(0, scope, key, value) for key, value in found.items()], offer, failed)
        self.foreign.clear()  # It is told as drift.
        return failed

    def refill(self, offer: Offer) -> None:
        """Send everything stored to the zones of this rack: one was seeded anew.  ChannelDown if BIND is away."""
        for zone in primaries(offer):
            scope = f"zone:{zone.name}"
            stored = self._store.values(scope)
            changes = [RecordChange(0, scope, key, value) for key, value in stored.items()]
            failed: Failed = {}
            if len(changes) <= WHOLE_RECORDS or not self._apply_whole(zone, changes):
                pairs = [(change, _rrset_of(change)) for change in changes]
                self._send_all(zone.name, pairs, None, failed)
            log.info("records.refilled", zone=zone.name, count=len(changes), failed=len(failed))

    def are_whole(self, offer: Offer) -> bool:
        """Whether a sample of the stored RRsets is in BIND.  ChannelDown if BIND is away."""
        updater = self._updater()
        return all(
            self._sample_is_right(updater, self._store.values(f"zone:{zone.name}").values(), VERIFY_SAMPLE)
            for zone in primaries(offer)
        )

    def raise_serials(self, offer: Offer) -> None:
        """See that every zone of ours says who its primary is, with a serial above all that were seen.  ChannelDown.

        Only a rack that became primary, or has lost a zone, finds something to do: BIND counts up by itself.
        """
        zones = primaries(offer)
        updater = self._updater()
        answers = updater.lookup_many([(f"{zone.name.rstrip('.')}.", "SOA") for zone in zones])
        for zone, (_, rdatas) in zip(zones, answers, strict=True):
            if not rdatas:
                continue
            present = int(rdatas[0].split()[2])
            known = (zone.serial_above, self.seen_serials.get(zone.name, 0))
            behind = any(after(one, present) for one in known if one)
            if not behind and rdatas[0] == soa_of(zone, present):
                continue
            serial = serial_above(int(self._clock()), present, *known)
            apex = f"{zone.name.rstrip('.')}."
            updater.update(zone.name, [RrsetChange(apex, "SOA", zone.ttl_seconds, (soa_of(zone, serial),))])
            if self._own_serials.get(zone.name) == present:
                self._own_serials[zone.name] = serial
            log.info("zone.serial.raised", zone=zone.name, before=present, serial=serial)

    def take_foreign(self) -> list[dict[str, str]]:
        """What somebody else had changed, once."""
        taken, self.foreign = self.foreign, []
        return taken

    def _zone_of(self, scope: str, offer: Offer) -> ZoneIntent | None:
        name = scope.partition(":")[2].rstrip(".")
        return next((zone for zone in primaries(offer) if zone.name.rstrip(".") == name), None)

    def _stored(self, scope: str, changes: Sequence[RecordChange]) -> dict[str, dict[str, Any] | None]:
        if len(changes) > MESSAGE_RECORDS:
            whole = self._store.values(scope)
            return {change.key: whole.get(change.key) for change in changes}
        return {change.key: self._store.value(scope, change.key) for change in changes}

    def _send_all(
        self,
        zone: str,
        pairs: list[Pair],
        stored: Mapping[str, dict[str, Any] | None] | None,
        failed: Failed,
    ) -> None:
        """Send and check; what was believed is what is stored, or nothing at all (None)."""
        updater = self._updater()
        if updater.serials([zone]).get(zone) != self._own_serials.get(zone):
            self._unsure.add(zone)
        believed: dict[str, tuple[str, ...] | None] = {}
        for change, rrset in pairs:
            value = stored.get(change.key) if stored is not None else None
            is_apex = rrset.type == "NS" and rrset.name.rstrip(".") == zone.rstrip(".")
            if value is not None:
                believed[change.key] = _rrset(value).rdatas
            else:
                believed[change.key] = updater.lookup(rrset.name, "NS")[1] if is_apex else ()
        for chunk in _chunks(pairs, believed):
            self._send(updater, zone, chunk, believed, failed)
        sent = [pair for pair in pairs if (pair[0].scope, pair[0].key) not in failed]
        began = time.monotonic()
        *answers, soa = updater.lookup_many(
            [*((rrset.name, rrset.type) for _, rrset in sent), (f"{zone.rstrip('.')}.", "SOA")]
        )
        self._note_serial(zone, soa)
        for (change, rrset), seen in zip(sent, answers, strict=True):
            if (found := _difference(rrset, seen)) is None:
                continue
            if not rrset.rdatas and updater.is_absent(zone, rrset.name, rrset.type):
                continue  # A wildcard answers in its place.
            failed[change.scope, change.key] = found
            value = stored.get(change.key) if stored is not None else None
            before = _rrset(value) if value is not None else RrsetChange(rrset.name, rrset.type, rrset.ttl, ())
            self._unsure.add(zone)
            try:
                updater.update(zone, [before])
            except ChannelDown:
                raise
            except ChannelError as error:
                failed[change.scope, change.key] = f"{found}; and what was there could not be put back: {error}"
        self.checked_seconds += time.monotonic() - began

    def _note_serial(self, zone: str, soa: tuple[int, tuple[str, ...]]) -> None:
        """Remember the serial that our own change has left."""
        if soa[1]:
            self._own_serials[zone] = self.seen_serials[zone] = int(soa[1][0].split()[2])

    def _send(
        self,
        updater: BindUpdater,
        zone: str,
        chunk: list[Pair],
        believed: dict[str, tuple[str, ...] | None],
        failed: Failed,
    ) -> None:
        """One update is all or nothing, so a refused one is sent again in halves."""
        for _ in range(FOREIGN_TRIES):
            try:
                updater.update(zone, [Replacement(rrset, believed[change.key]) for change, rrset in chunk])
                return
            except ForeignChange:
                chunk = self._look_again(updater, zone, chunk, believed)
                if not chunk:
                    return
            except ChannelDown:
                raise
            except ChannelError as error:
                if len(chunk) == 1:
                    failed[chunk[0][0].scope, chunk[0][0].key] = str(error)
                    return
                middle = len(chunk) // 2
                self._send(updater, zone, chunk[:middle], believed, failed)
                self._send(updater, zone, chunk[middle:], believed, failed)
                return
        for change, _ in chunk:
            failed[change.scope, change.key] = "somebody else keeps changing it; find out who, and stop them"

    def _look_again(
        self, updater: BindUpdater, zone: str, chunk: list[Pair], believed: dict[str, tuple[str, ...] | None]
    ) -> list[Pair]:
        """Correct what was believed; what is there already as wanted is left out."""
        left: list[Pair] = []
        answers = updater.lookup_many([(rrset.name, rrset.type) for _, rrset in chunk])
        for (change, rrset), (ttl, rdatas) in zip(chunk, answers, strict=True):
            if rdatas and rdatas != believed[change.key] and updater.is_absent(zone, rrset.name, rrset.type):
                rdatas = ()  # A wildcard answers in its place.
            if rdatas == rrset.rdatas and (ttl == rrset.ttl or not rdatas):
                continue
            if rdatas != believed[change.key]:
                # Nothing was believed: a zone that this rack has taken over, or a seed.
                if believed[change.key]:
                    seen = ", ".join(rdatas) or "nothing"
                    self.foreign.append({"scope": change.scope, "key": change.key, "found": seen[:500]})
                    log.warning("zone.foreign", key=change.key, found=seen[:200])
                believed[change.key] = rdatas
            left.append((change, rrset))
        return left

    def _apply_whole(self, zone: ZoneIntent, changes: Sequence[RecordChange]) -> bool:
        """Write the zone whole, with these changes; False if it could not be, and then nothing has changed.

        `named-checkzone` reads the file first: what it refuses is found one by one, by updates.
        """
        if self._directories is None:
            return False
        scope = f"zone:{zone.name}"
        values = self._store.values(scope)
        for change in changes:
            values.pop(change.key, None)
            if change.value is not None:
                values[change.key] = change.value
        control = BindControl(self._directories.current / "rndc.conf")
        updater = self._updater()
        begin = time.monotonic()
        control.freeze(zone.name)
        try:
            present = updater.serials([zone.name]).get(zone.name, 0)
            known = (present, zone.serial_above, self.seen_serials.get(zone.name, 0))
            serial = serial_above(int(self._clock()), *known)
            path = self._directories.state / zone_file(zone)
            draft = path.with_name(f".{path.name}.draft")
            try:
                write_atomically(draft, zone_text(zone, serial, values).encode(), mode=0o644, owner=USER)
                run(["named-checkzone", "-q", "-k", "ignore", "-i", "none", zone.name, str(draft)], CHECK_SECONDS)
            except (ChannelError, ValueError) as error:
                draft.unlink(missing_ok=True)
                log.warning("zone.whole.refused", zone=zone.name, reason=str(error))
                return False
            draft.replace(path)
        finally:
            control.thaw(zone.name)
        if not self._is_loaded(updater, zone.name, serial):
            log.warning("zone.whole.not_loaded", zone=zone.name, serial=serial)
            return False
        self._own_serials[zone.name] = self.seen_serials[zone.name] = serial
        right = self._sample_is_right(updater, values.values(), VERIFY_WHOLE)
        log.info(
            "zone.whole", zone=zone.name, count=len(values), seconds=round(time.monotonic() - begin, 3), right=right
        )
        return right

    def _is_loaded(self, updater: BindUpdater, zone: str, serial: int) -> bool:
        """Wait until BIND answers with the new serial: it loads beside its answers."""
        end = time.monotonic() + LOAD_SECONDS
        while updater.serials([zone]).get(zone) != serial:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _sample_is_right(self, updater: BindUpdater, values: Iterable[dict[str, Any]], size: int) -> bool:
        stored = list(values)
        wanted = [_rrset(value) for value in stored[:: max(1, -(-len(stored) // size))]]
        answers = updater.lookup_many([(rrset.name, rrset.type) for rrset in wanted])
        return all(_difference(rrset, seen) is None for rrset, seen in zip(wanted, answers, strict=True))


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


def _difference(wanted: RrsetChange, seen: tuple[int, tuple[str, ...]]) -> str | None:
    """What a client sees instead of what was wanted; None if all is well."""
    ttl, rdatas = seen
    if not wanted.rdatas:
        return f"it is still there: {', '.join(rdatas)}" if rdatas else None
    if rdatas != wanted.rdatas:
        shown = ", ".join(rdatas) or "nothing"
        return (
            f"bind took {wanted.name} {wanted.type} and answers {shown}; another record of that name stands against it"
        )
    return None if ttl == wanted.ttl else f"{wanted.name} {wanted.type} has a TTL of {ttl} s instead of {wanted.ttl} s"


def _chunks(pairs: list[Pair], believed: Mapping[str, tuple[str, ...] | None]) -> list[list[Pair]]:
    """Groups of at most MESSAGE_RECORDS records, deletions counted, that fit into a message with their prerequisites.

    What is deleted goes first, so that it makes room for what comes at the same name in another message.
    """
    chunks: list[list[Pair]] = []
    size, characters = MESSAGE_RECORDS + 1, 0
    for pair in sorted(pairs, key=lambda pair: bool(pair[1].rdatas)):
        rrset = pair[1]
        rdatas = (*rrset.rdatas, *(believed[pair[0].key] or ()))
        weight = len(rrset.rdatas) + 1
        length = sum(len(text) + len(rrset.name) + 12 for text in rdatas) + len(rrset.name) + 12
        if size + weight > MESSAGE_RECORDS or characters + length > MESSAGE_CHARACTERS:
            chunks.append([])
            size = characters = 0
        chunks[-1].append(pair)
        size, characters = size + weight, characters + length
    return chunks
