"""On which interface a rack serves a VLAN: a rule over what the rack reports of its interfaces.  Pure.

Candidates are the interfaces that have an address in one of the VLAN's subnets.  Of several the first by this order is
taken; the outcome and its reason are shown wherever a rack is shown:

1. one with a carrier (or whose carrier is not known) before one without;
2. one with an IPv4 address there before one without, because DHCPv4 needs it;
3. by kind: physical, bond, VLAN, bridge, everything else;
4. by name, numbers as numbers.

Kinds are what the kernel says (`ip -details link`); a virtual Ethernet pair counts as physical, because to a container
it is the network card.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

KINDS = ("physical", "bond", "vlan", "bridge", "other")
_WORDS = {"vlan": "VLAN interface"}
Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True)
class Standing:
    """Where a rack stands on a VLAN. addresses: the rack's address by subnet, those of the interface chosen first."""

    interface: str
    kind: str
    addresses: dict[str, str]
    on_interface: frozenset[str]
    reason: str


def _address(text: Any) -> Address | None:
    """The address with its network; None for what is none, which an old or broken rack may report."""
    try:
        return ipaddress.ip_interface(str(text))
    except ValueError:
        return None


class Standings:
    """What a rack's interfaces give, for any number of VLANs; what makes no sense among them is passed over."""

    def __init__(self, interfaces: Iterable[dict[str, Any]]) -> None:
        reported = [item for item in interfaces if isinstance(item, dict) and "name" in item]
        self._interfaces = {str(item["name"]): item for item in reported}
        self._own = [
            (str(item["name"]), address)
            for item in reported
            for text in item.get("addresses", ())
            if (address := _address(text)) is not None
        ]
        self._index: dict[tuple[int, int], dict[int, list[tuple[str, Address]]]] = {}

    def on(self, cidrs: Sequence[str]) -> Standing | None:
        """The interface for a VLAN with these subnets; None when no interface has an address in any of them."""
        here = {cidr: found for cidr in cidrs if (found := self._in(cidr))}
        names = list(dict.fromkeys(name for found in here.values() for name, _ in found))
        if not names:
            return None
        with_v4 = {name for found in here.values() for name, address in found if address.version == 4}
        ranked = sorted(names, key=lambda name: self._rank(name, name in with_v4))
        best = ranked[0]
        addresses = {}
        for cidr, found in here.items():
            of_best = [str(address.ip) for name, address in found if name == best]
            addresses[cidr] = of_best[0] if of_best else str(found[0][1].ip)
        return Standing(
            interface=best,
            kind=self._kind(best),
            addresses=addresses,
            on_interface=frozenset(cidr for cidr, found in here.items() if any(name == best for name, _ in found)),
            reason=self._reason(best, ranked[1:], with_v4),
        )

    def _in(self, cidr: str) -> list[tuple[str, Address]]:
        network = ipaddress.ip_network(cidr)
        key = (network.version, network.prefixlen)
        if key not in self._index:
            index: dict[int, list[tuple[str, Address]]] = defaultdict(list)
            for name, address in self._own:
                if address.version == network.version:
                    index[int(address.ip) >> (network.max_prefixlen - network.prefixlen)].append((name, address))
            self._index[key] = index
        prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        return self._index[key].get(prefix, [])

    def _kind(self, name: str) -> str:
        kind = str(self._interfaces[name].get("kind") or "physical")
        return kind if kind in KINDS else "other"

    def _carrier(self, name: str) -> bool:
        return self._interfaces[name].get("carrier") is not False

    def _rank(self, name: str, has_v4: bool) -> tuple[bool, bool, int, list[tuple[int, str]]]:
        natural = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
        return (not self._carrier(name), not has_v4, KINDS.index(self._kind(name)), natural)

    def _reason(self, best: str, others: list[str], with_v4: set[str]) -> str:
        about = self._about(best)
        if not others:
            return f"{about} is the only one with an address there"
        second = others[0]
        if self._carrier(best) and not self._carrier(second):
            why = "it has a carrier"
        elif best in with_v4 and second not in with_v4:
            why = "it has an IPv4 address there"
        elif self._kind(best) != self._kind(second):
            why = "the order is physical, bond, VLAN, bridge"
        else:
            why = "of one kind the first name is taken"
        return f"{about} goes before {', '.join(self._about(name) for name in others)}: {why}"

    def _about(self, name: str) -> str:
        kind = self._kind(name)
        return f"{name} ({_WORDS.get(kind, kind)}{'' if self._carrier(name) else ', no carrier'})"
