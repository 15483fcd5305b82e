"""Address arithmetic: canonical text, sortable keys, intervals and the first free address.  Pure; no database.

Nothing here walks over the addresses of a network: an IPv6 /64 costs as much as an IPv4 /30.  Free space is found by
walking over what is *blocked* (ranges, addresses in use), in order.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from app.services.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Interval = tuple[int, int]

SHORTEST_PREFIX = {4: 8, 6: 16}


def parse_address(text: str, field: str | None = None) -> Address:
    """The address. Invalid when it is none."""
    try:
        address = ipaddress.ip_address(str(text).strip())
    except ValueError:
        raise Invalid(
            f"{text!r} is not an IP address; write it like 10.0.0.7 or 2001:db8::7", field=field, rule="an IP address"
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise Invalid(f"address {text}: leave out the scope %{address.scope_id}", field=field, rule="no scope")
    return address


def parse_network(text: str, field: str | None = None) -> Network:
    """The network. Invalid when it is none, has host bits set, or is wider than Muster serves."""
    try:
        network = ipaddress.ip_network(str(text).strip(), strict=False)
        interface = ipaddress.ip_interface(str(text).strip())
    except ValueError:
        raise Invalid(
            f"{text!r} is not a network; write it like 10.0.0.0/24 or 2001:db8::/64", field=field, rule="a network"
        ) from None
    if interface.ip != network.network_address:
        raise Invalid(
            f"network {text}: {interface.ip} is an address inside {network}; write {network}",
            field=field,
            rule="the address of a network has no host bits",
            remedy=f"write {network}",
        )
    if network.prefixlen < SHORTEST_PREFIX[network.version]:
        raise Invalid(
            f"network {network}: a subnet is at most a /{SHORTEST_PREFIX[network.version]}; split it",
            field=field,
            rule=f"prefix length >= {SHORTEST_PREFIX[network.version]}",
        )
    return network


def canonical_address(text: str, field: str | None = None) -> str:
    """The one way an address is written in the database."""
    return str(parse_address(text, field))


def canonical_network(text: str, field: str | None = None) -> str:
    """The one way a network is written in the database."""
    return str(parse_network(text, field))


def address_key(address: str | Address) -> str:
    """32 hexadecimal digits of the address's value: within one subnet they sort as the addresses do."""
    parsed = parse_address(address) if isinstance(address, str) else address
    return f"{int(parsed):032x}"


def number_key(number: int) -> str:
    """The key of the address that has this number."""
    return f"{number:032x}"


def address_of(number: int, network: Network) -> str:
    """Canonical text of the address that has this number, in the network's family."""
    return str(ipaddress.IPv4Address(number) if network.version == 4 else ipaddress.IPv6Address(number))


def usable(network: Network) -> Interval:
    """First and last address that a host may have, both included.

    IPv4 keeps the network and broadcast addresses (RFC 1812, section 4.2.2.11), except for /31 (RFC 3021) and /32;
    IPv6 keeps the subnet-router anycast address (RFC 4291, section 2.6.1), except for /127 (RFC 6164) and /128.
    """
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.prefixlen >= network.max_prefixlen - 1:
        return first, last
    return first + 1, last - 1 if network.version == 4 else last


def overlap(one: Interval, other: Interval) -> bool:
    """Whether two intervals, ends included, share a number."""
    return one[0] <= other[1] and other[0] <= one[1]


def closed(space: Interval, managed: bool, ranges: Iterable[tuple[str, int, int]]) -> list[Interval]:
    """The parts of a subnet's usable addresses from which Muster hands out none, in order.

    ranges: kind, first and last.  Managed: what lies in ranges, or, where there are static pools, all that lies in none
    of them.  Unmanaged: all that lies in no reserved range.
    """
    found = sorted(ranges, key=lambda one: one[1])
    kind = "static_pool" if managed else "reserved"
    opened = [(start, end) for name, start, end in found if name == kind]
    if managed and not opened:
        return [(start, end) for _, start, end in found]
    made, begin = [], space[0]
    for start, end in opened:
        if start > begin:
            made.append((begin, start - 1))
        begin = max(begin, end + 1)
    return [*made, (begin, space[1])] if begin <= space[1] else made


def open_parts(space: Interval, blocked: Iterable[Interval]) -> Iterator[Interval]:
    """What of `space` lies in no blocked interval, in order. `blocked` is ordered by start, and is read as far as needed."""
    begin, last = space
    for start, end in blocked:
        if start > last:
            break
        if start > begin:
            yield begin, start - 1
        begin = max(begin, end + 1)
    if begin <= last:
        yield begin, last


def first_free(space: Interval, blocked: Iterable[Interval]) -> int | None:
    """The lowest number of `space` that lies in no blocked interval. `blocked` is ordered by start; it may overlap."""
    candidate, last = space
    for start, end in blocked:
        if start > candidate:
            break
        candidate = max(candidate, end + 1)
    return candidate if candidate <= last else None


def supernets(address: str | Address) -> Iterator[str]:
    """Canonical text of every network that may hold the address: what to look for in a table of networks."""
    parsed = parse_address(address) if isinstance(address, str) else address
    for length in range(SHORTEST_PREFIX[parsed.version], parsed.max_prefixlen + 1):
        yield str(ipaddress.ip_network((parsed, length), strict=False))
