"""Classless static routes (RFC 3442): option 121, in the form that it has on the wire.

A client that gets it ignores option 3, so the default route is one of its routes.  It has no metric: of two routes to
one destination the one with the lower metric is sent.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from renderers import text
from renderers.intent import RouteIntent

DEFAULT = "0.0.0.0/0"


def with_default(routes: Iterable[RouteIntent], gateway: str | None) -> tuple[RouteIntent, ...]:
    """IPv4 routes to send, one for each destination in the order of destinations, the default route first."""
    kept: dict[ipaddress.IPv4Network, RouteIntent] = {}
    for route in sorted(routes, key=lambda route: (route.metric, route.gateway)):
        kept.setdefault(ipaddress.IPv4Network(text.network(route.destination)), route)
    if gateway is not None:
        kept.setdefault(ipaddress.IPv4Network(DEFAULT), RouteIntent(DEFAULT, gateway))
    return tuple(kept[network] for network in sorted(kept))


def encode(routes: Iterable[RouteIntent]) -> bytes:
    """The option's data (RFC 3442, "Classless Route Option Format"): prefix length, its significant bytes, gateway."""
    made = b""
    for route in routes:
        network = ipaddress.IPv4Network(text.network(route.destination))
        significant = network.network_address.packed[: (network.prefixlen + 7) // 8]
        made += bytes([network.prefixlen]) + significant + ipaddress.IPv4Address(text.address(route.gateway)).packed
    return made
