"""Finds hosts that a DHCP server holds otherwise than this rack's own copy says, piece by piece.

To compare 50,000 hosts at once takes a second or two of this process, and a record that comes meanwhile would wait for
all of it.  So they are compared in the order of their MACs, PIECE at a time, and whoever walks may make records live
between two pieces: a piece compares what both sides hold at that moment.  A strategy that can only read everything is
compared in one piece for each subnet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workers.rack.host_keeper import HostKeeper
from workers.rack.host_strategies.base import WHOLE, ReadsSpans, Span
from workers.rack.hosts import parse_host, parse_key
from workers.rack.offer import Offer, SubnetOffer
from workers.rack.record_store import RecordStore

PIECE = 250
"""Hosts; some ten milliseconds."""


@dataclass(frozen=True)
class HostDrift:
    """The hosts of a subnet that differ, by key. strange: some of them are nobody's."""

    scope: str
    subnet_id: int
    wrong: tuple[str, ...]
    strange: bool


def walk(store: RecordStore, keeper: HostKeeper, offer: Offer) -> Iterator[HostDrift | None]:
    """Compare the next piece with each step; what differs in a subnet when all of it was read, None otherwise.

    ChannelDown ends the walk.
    """
    for subnet in offer.subnets:
        yield from _walk_subnet(store, keeper, offer, subnet)


def _walk_subnet(
    store: RecordStore, keeper: HostKeeper, offer: Offer, subnet: SubnetOffer
) -> Iterator[HostDrift | None]:
    found = keeper.strategy_for(subnet, offer)
    if found is None:
        return
    daemon, strategy = found
    scope, prefix, wrong, strange = f"vlan:{subnet.vlan_id}", f"host:{subnet.subnet_id}:", list[str](), False
    span: Span | None = WHOLE
    while span is not None:
        most = PIECE if isinstance(strategy, ReadsSpans) else None
        stored = store.values(scope, prefix, after=f"{prefix}{span.after or ''}", most=most)
        if most is not None and len(stored) == most:
            span = Span(span.after, parse_key(list(stored)[-1])[1])
        if isinstance(strategy, ReadsSpans):
            held = strategy.present_in(daemon, subnet.subnet_id, span)
        else:
            held = strategy.present(daemon, [subnet.subnet_id]).get(subnet.subnet_id, {})
        wanted = {key: parse_host(key, value) for key, value in stored.items()}
        wrong += sorted(key for key in held.keys() | wanted.keys() if held.get(key) != wanted.get(key))
        strange |= not held.keys() <= wanted.keys()
        span = Span(span.last, None) if span.last is not None else None
        if span is not None:
            yield None
    yield HostDrift(scope, subnet.subnet_id, tuple(wrong), strange) if wrong else None
