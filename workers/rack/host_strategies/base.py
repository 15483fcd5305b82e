"""What a way of making DHCP hosts live promises, and how one is chosen for a daemon.

A strategy is asked whether it fits a daemon as that runs now (what it understands, what it was started with), the
cheapest first; so a Kea that is upgraded, or given a hosts database, is driven the better way from the next batch on.
All of them keep these promises, held by one conformance suite with the real daemons:
- a batch is idempotent: what is so already is no error, and a batch that broke off may be sent again whole;
- a host that the daemon refuses is named with the reason, and the rest of the batch is live;
- what is live stays so when the daemon starts again, also without the control plane and the agent;
- `present` reads back what the daemon would answer from, and `load` makes that equal to what it is given.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, runtime_checkable

import workers.rack.host_strategies
from workers.rack.files import ServiceDirectories
from workers.rack.host_rows import Line
from workers.rack.hosts import Host, HostChange
from workers.rack.secret_files import SecretFiles

Refusals = dict[tuple[str, str], str]
"""Reasons by scope and key."""
FAMILIES = {"kea4": 4, "kea6": 6, "dhcpd": 4}
"""The daemons that serve hosts, with the family of their addresses."""


@dataclass(frozen=True)
class HostDaemon:
    """One DHCP daemon of this rack.

    stored: the hosts of a subnet as the rack's own store has them, that is without the batch in hand.  line: to the hosts
    database, where there is one.
    """

    service: str
    directories: ServiceDirectories
    secrets: SecretFiles
    stored: Callable[[int], Iterable[Host]]
    line: Line = field(default_factory=Line)

    @property
    def family(self) -> int:
        """4 or 6."""
        return FAMILIES[self.service]


@dataclass(frozen=True)
class Span:
    """The MACs after one (None: from the first) up to another, that included (None: to the last)."""

    after: str | None = None
    last: str | None = None


WHOLE = Span()


@runtime_checkable
class HostStrategy(Protocol):
    """One way to make hosts live.  Every method may raise ChannelDown: the daemon is away, send it again later."""

    @property
    def name(self) -> str:
        """For people and logs."""

    @property
    def services(self) -> frozenset[str]:
        """The daemons it is made for."""

    @property
    def rank(self) -> int:
        """The lowest that fits is taken."""

    def fits(self, daemon: HostDaemon) -> bool:
        """Whether the daemon, as it runs now, can be driven this way."""

    def apply(self, daemon: HostDaemon, changes: Sequence[HostChange]) -> Refusals:
        """Make changes live; those that the daemon refused, with the reason."""

    def present(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> dict[int, dict[str, Host]]:
        """The hosts the daemon has, by subnet and key; what has no key of ours is under a key of its own."""

    def load(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> dict[str, str]:
        """See that exactly these hosts are there, subnet by subnet.

        A daemon that is told of them one by one may refuse some: their reasons by key, and the others are there.
        """

    def prepare(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> None:
        """Before the daemon reads its configuration: it will find exactly these hosts.  The daemon may be away."""

    def settle(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> None:
        """When there is time: see that the daemon starts anew into what is stored of these subnets, if that is not so by itself."""


@runtime_checkable
class ReadsSpans(Protocol):
    """A strategy to which a part of a subnet's hosts costs as much as the part."""

    def present_in(self, daemon: HostDaemon, subnet_id: int, span: Span) -> dict[str, Host]:
        """`present` for the MACs of a span; what has no key of ours is in one span, whichever.  ChannelDown."""


@cache
def strategies() -> tuple[HostStrategy, ...]:
    """All strategies by rank.  RuntimeError names a module whose STRATEGY is missing or whose name or rank is taken."""
    found: list[HostStrategy] = []
    for info in sorted(pkgutil.iter_modules(workers.rack.host_strategies.__path__), key=lambda info: info.name):
        if info.name == "base":
            continue
        module = importlib.import_module(f"workers.rack.host_strategies.{info.name}")
        strategy = getattr(module, "STRATEGY", None)
        if not isinstance(strategy, HostStrategy) or any(
            strategy.name == other.name or (strategy.rank == other.rank and strategy.services & other.services)
            for other in found
        ):
            raise RuntimeError(
                f"workers/rack/host_strategies/{info.name}.py: needs a constant STRATEGY with a name and rank of its own"
            )
        found.append(strategy)
    return tuple(sorted(found, key=lambda item: item.rank))


def candidates(service: str) -> tuple[HostStrategy, ...]:
    """The strategies made for a daemon, by rank."""
    return tuple(item for item in strategies() if service in item.services)


def choose(daemon: HostDaemon) -> HostStrategy:
    """The first strategy that fits.  LookupError if none does, ChannelDown if the daemon cannot be asked."""
    for strategy in candidates(daemon.service):
        if strategy.fits(daemon):
            return strategy
    raise LookupError(f"no way to make hosts live fits {daemon.service}")
