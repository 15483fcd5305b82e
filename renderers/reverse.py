"""Reverse DNS zones: which zones a network needs, and in which of them an address's PTR record lives.

IPv4: zones end at an octet boundary (a /23 needs two /24 zones); a network longer than /24 shares its /24's zone.
IPv6: zones end at a nibble boundary, /124 at most.  Zone names carry no trailing dot.
"""

from __future__ import annotations

import ipaddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def reverse_zones(cidr: str) -> tuple[str, ...]:
    """The reverse zones that a network needs, in order of address; at most 128 for IPv4, 8 for IPv6."""
    network = ipaddress.ip_network(cidr)
    length = _zone_length(network)
    if length <= network.prefixlen:
        return (_zone_name(ipaddress.ip_network((network.network_address, length), strict=False)),)
    return tuple(_zone_name(part) for part in network.subnets(new_prefix=length))


def reverse_zone_of(address: str, cidr: str) -> str:
    """The one of a network's reverse zones that holds an address's PTR record."""
    length = _zone_length(ipaddress.ip_network(cidr))
    return _zone_name(ipaddress.ip_network((ipaddress.ip_address(address), length), strict=False))


def _zone_length(network: Network) -> int:
    step, most = (8, 24) if network.version == 4 else (4, 124)
    return min(-(-network.prefixlen // step) * step, most)


def _zone_name(network: Network) -> str:
    """RFC 1035, section 3.5, and RFC 3596, section 2.5."""
    if network.version == 4:
        octets = str(network.network_address).split(".")[: network.prefixlen // 8]
        return ".".join([*reversed(octets), "in-addr.arpa"])
    nibbles = f"{int(network.network_address):032x}"[: network.prefixlen // 4]
    return ".".join([*reversed(nibbles), "ip6.arpa"])
