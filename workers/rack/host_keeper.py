"""Makes DHCP hosts live: which may be, by which strategy, and whether a client gets what was promised.

What does not fit beside the others is refused before any daemon hears of it; what the daemon refuses, or a client does
not get, is taken back by its inverse.  Hosts of a daemon that does not run here are remembered only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

import structlog

from renderers.intent import RackPorts
from renderers.services import hosts_db
from workers.rack.channels.base import ChannelDown
from workers.rack.files import ServiceDirectories
from workers.rack.host_leases import end_leases
from workers.rack.host_questions import ASKERS, Asker, heard
from workers.rack.host_rows import Line
from workers.rack.host_strategies import base
from workers.rack.hosts import Host, HostChange, conflicts, parse_host, parse_key
from workers.rack.offer import Offer, SubnetOffer
from workers.rack.probes.base import ProbeFailure
from workers.rack.record_store import RecordChange, RecordStore
from workers.rack.secret_files import SecretFiles

log = structlog.get_logger()

SETTLE_SECONDS = 5.0
"""Least time between two writings of files that follow a daemon's memory: they cost more the more hosts there are."""
TOLD = 20
"""How many refused hosts the log names when a daemon has started."""
SAMPLE = 20
"""Hosts of a batch that are asked for as a client."""
Failures = dict[tuple[str, str], str]
Present = dict[int, dict[str, Host]]


class HostKeeper:
    """The hosts of one rack.

    directories: where a service lives.  serving: whether a service is meant to run here.  askers: by family, how a
    client asks for an address; a family without one is not asked for.
    """

    def __init__(
        self,
        store: RecordStore,
        directories: Callable[[str], ServiceDirectories],
        secrets: SecretFiles,
        serving: Callable[[str], bool],
        ports: RackPorts | None = None,
        askers: Mapping[int, Asker] = ASKERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._directories = directories
        self._secrets = secrets
        self._serving = serving
        self._ports = ports or RackPorts()
        self.checked_seconds = 0.0
        self._askers = askers
        self._clock = clock
        self._started: dict[str, tuple[int | None, ...]] = {}
        self._unsettled: dict[str, set[int]] = {}
        self._settled_at = -SETTLE_SECONDS
        self._settling = threading.Lock()
        self._line = Line()

    def apply(self, changes: Sequence[RecordChange], offer: Offer) -> Failures:
        """Make record changes of hosts live; those that are not, with the reason.  ChannelDown: all of them later."""
        failed: Failures = {}
        good = self._read(changes, failed)
        subnets = {subnet.subnet_id: subnet for subnet in offer.subnets}
        failed.update(conflicts(good, self._holders, subnets))
        good = [item for item in good if (item.scope, item.key) not in failed]
        for service, family in base.FAMILIES.items():
            mine = [item for item in good if _family(item, subnets) == family]
            if mine and self._serving(service):
                failed.update(self._make_live(service, mine, offer))
        return failed

    def prepare(self, service: str, offer: Offer) -> None:
        """Before a daemon reads a structure: it will find the stored hosts of every subnet."""
        daemon = self.daemon(service, offer)
        wanted = self._wanted(daemon, offer)
        for strategy in base.candidates(service):
            strategy.prepare(daemon, wanted)

    def present(self, offer: Offer) -> Present:
        """The hosts that the daemons of this rack would answer from, by subnet and key.  ChannelDown."""
        found: Present = {}
        for service in filter(self._serving, base.FAMILIES):
            daemon = self.daemon(service, offer)
            found |= base.choose(daemon).present(daemon, _subnets(offer, daemon.family))
        return found

    def strategy_for(self, subnet: SubnetOffer, offer: Offer) -> tuple[base.HostDaemon, base.HostStrategy] | None:
        """The daemon that serves a subnet's hosts here and how it is driven; None when none does.  ChannelDown."""
        family = 6 if ":" in subnet.cidr else 4
        for service in filter(self._serving, base.FAMILIES):
            daemon = self.daemon(service, offer)
            if daemon.family == family:
                return daemon, base.choose(daemon)
        return None

    def mend(self, offer: Offer, subnet_ids: Collection[int] | None = None) -> dict[str, str]:
        """Make the daemons' hosts equal to the stored ones, in some subnets or all: what is unknown goes.  ChannelDown.

        Reasons by key of the hosts that a daemon refused.
        """
        refused: dict[str, str] = {}
        for service in filter(self._serving, base.FAMILIES):
            daemon = self.daemon(service, offer)
            wanted = self._wanted(daemon, offer)
            chosen = {number: wanted[number] for number in wanted if subnet_ids is None or number in subnet_ids}
            refused |= base.choose(daemon).load(daemon, chosen)
        return refused

    def tend(self, offer: Offer, pid: Callable[[str], int | None]) -> None:
        """Compare the hosts of daemons that were started since.  pid: the process of a service.  ChannelDown."""
        if self._store.sequence == 0:
            return
        for service in filter(self._serving, base.FAMILIES):
            started = (pid(service), pid(hosts_db.NAME))
            if self._started.get(service) != started:
                daemon = self.daemon(service, offer)
                refused = base.choose(daemon).load(daemon, self._wanted(daemon, offer))
                if refused:
                    log.warning(
                        "hosts.refused", service=service, count=len(refused), hosts=dict(islice(refused.items(), TOLD))
                    )
                self._started[service] = started

    def settle(self, offer: Offer) -> None:
        """Let strategies write down what is only in memory, beside the changes: it costs more the more hosts there are.

        Nobody may change the structure meanwhile.  ChannelDown.
        """
        if not self._unsettled or self._clock() - self._settled_at < SETTLE_SECONDS:
            return
        self._settled_at = self._clock()
        with self._settling:
            todo, self._unsettled = self._unsettled, {}
        try:
            for service, subnet_ids in todo.items():
                daemon = self.daemon(service, offer)
                base.choose(daemon).settle(daemon, subnet_ids)
        except Exception:  # Whatever it was: a daemon that started now would not find these hosts.
            for service, subnet_ids in todo.items():
                self._unsettle(service, subnet_ids)
            raise

    def _unsettle(self, service: str, subnet_ids: Iterable[int]) -> None:
        with self._settling:
            self._unsettled.setdefault(service, set()).update(subnet_ids)

    def daemon(self, service: str, offer: Offer) -> base.HostDaemon:
        """One daemon, with what the store holds for it."""
        scopes = {subnet.subnet_id: f"vlan:{subnet.vlan_id}" for subnet in offer.subnets}

        def stored(subnet_id: int) -> list[Host]:
            scope = scopes.get(subnet_id)
            values = self._store.values(scope, f"host:{subnet_id}:") if scope is not None else {}
            return [parse_host(key, value) for key, value in values.items()]

        return base.HostDaemon(service, self._directories(service), self._secrets, stored, self._line)

    def _make_live(self, service: str, changes: list[HostChange], offer: Offer) -> Failures:
        daemon = self.daemon(service, offer)
        strategy = base.choose(daemon)
        failed = strategy.apply(daemon, changes)
        self._unsettle(service, (item.subnet_id for item in changes))
        live = [item for item in changes if (item.scope, item.key) not in failed]
        gone = [item.before for item in live if item.before is not None and _moved(item)]
        given = [item.after for item in live if item.after is not None]
        end_leases(daemon.directories, given, gone)
        began = time.monotonic()
        wrong = self._check_as_client(daemon, live, offer)
        self.checked_seconds += time.monotonic() - began
        if wrong:
            strategy.apply(daemon, [item.inverse for item in live if (item.scope, item.key) in wrong])
        return failed | wrong

    def _check_as_client(self, daemon: base.HostDaemon, changes: Iterable[HostChange], offer: Offer) -> Failures:
        """Ask for address and options of each of at most SAMPLE hosts with its own MAC; what was wrong.

        Nothing is taken, so no lease comes of it.  Silence counts only if the question did not arrive either: ChannelDown.
        A daemon that does not count what it hears is asked by its channel whether it is there.
        """
        ask = self._askers.get(daemon.family)
        subnets = {item.subnet_id: item for item in offer.subnets}
        given = [item for item in changes if item.after is not None]
        wrong: Failures = {}
        for change in given[:: max(1, -(-len(given) // SAMPLE))] if ask is not None else ():
            host, subnet = change.after, subnets.get(change.subnet_id)
            if ask is None or host is None or subnet is None or subnet.rack_address is None:
                continue
            before = heard(daemon)
            try:
                offered = ask(daemon, host, subnet, offer, self._ports)
            except ProbeFailure as failure:
                after = heard(daemon)
                if before is not None and after is not None and after <= before:
                    raise ChannelDown(
                        f"{daemon.service} does not hear {host.mac} on {subnet.interface}: {failure}"
                    ) from failure
                continue
            if differs := offered.differs(host):
                wrong[change.scope, change.key] = f"asking as {host.mac} {differs}"
        return wrong

    def _read(self, changes: Sequence[RecordChange], failed: Failures) -> list[HostChange]:
        good: list[HostChange] = []
        for change in changes:
            try:
                parse_key(change.key)
                stored = self._store.value(change.scope, change.key)
                before = parse_host(change.key, stored) if stored is not None else None
                after = parse_host(change.key, change.value) if change.value is not None else None
                good.append(HostChange(change.scope, change.key, before, after))
            except ValueError as error:
                failed[change.scope, change.key] = str(error)
        return good

    def _holders(self, change: HostChange) -> list[Host]:
        """The stored hosts that hold the address of a change in its subnet."""
        if change.after is None:
            return []
        found = self._store.holding(change.scope, change.after.address)
        hosts = [parse_host(key, value) for key, value in found.items()]
        return [host for host in hosts if host.subnet_id == change.subnet_id]

    def _wanted(self, daemon: base.HostDaemon, offer: Offer) -> dict[int, list[Host]]:
        """What the store holds for every subnet that a daemon may serve."""
        return {subnet_id: list(daemon.stored(subnet_id)) for subnet_id in _subnets(offer, daemon.family)}


def _moved(change: HostChange) -> bool:
    """Whether the host has lost the address it had."""
    return change.after is None or (change.before is not None and change.before.address != change.after.address)


def _family(change: HostChange, subnets: Mapping[int, SubnetOffer]) -> int:
    host = change.after or change.before
    if host is not None:
        return host.family
    subnet = subnets.get(change.subnet_id)
    return 6 if subnet is not None and ":" in subnet.cidr else 4


def _subnets(offer: Offer, family: int) -> list[int]:
    return [item.subnet_id for item in offer.subnets if (6 if ":" in item.cidr else 4) == family]
