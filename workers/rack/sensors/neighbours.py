"""Who else is on this host's networks, by the kernel's own neighbour table (ARP, RFC 826; NDP, RFC 4861).

Nothing is sent: the kernel knows whom it has spoken to or heard of, which on a rack is every machine that boots through
it.  Entries that it has given up on are left out, and so are link-local addresses, which are in no subnet.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from workers.rack.channels.base import ChannelError, run

MOST = 1024
"""As many as the kernel keeps by default (`net.ipv4.neigh.default.gc_thresh3`), and one report takes."""
STATES = ("REACHABLE", "DELAY", "PROBE", "STALE", "PERMANENT")
"""States that mean that the address was in use, the surest first; others (ip-neighbour(8)) mean nothing or that it is not."""


def read() -> list[dict[str, str]]:
    """Interface, address and MAC of each neighbour; [] if `ip` is missing."""
    try:
        return parse(json.loads(run(["ip", "-json", "neigh", "show"]) or "[]"))
    except (ChannelError, ValueError):
        return []


def parse(entries: list[dict[str, Any]]) -> list[dict[str, str]]:
    """From the JSON of ip(8), the surest first, at most MOST."""
    found = []
    for entry in entries:
        states = entry.get("state") or []
        rank = min((STATES.index(state) for state in states if state in STATES), default=None)
        mac, interface = str(entry.get("lladdr", "")).lower(), str(entry.get("dev", ""))
        if rank is None or not mac or not interface:
            continue
        try:
            address = ipaddress.ip_address(str(entry.get("dst", "")))
        except ValueError:
            continue
        if not (address.is_link_local or address.is_multicast or address.is_loopback):
            found.append((rank, interface, int(address), {"interface": interface, "address": str(address), "mac": mac}))
    return [item for *_, item in sorted(found, key=lambda one: one[:3])[:MOST]]
