"""Reverse DNS zones: which zones a network needs, and in which of them an address's PTR record lives.

IPv4: zones end at an octet boundary (a /23 needs two /24 zones).  A network longer than /24 shares its /24's zone (mode
`on`), or has a classless zone of its own (mode `rfc2317`, RFC 2317 section 4), called `<first>-<last>` by the last
octets of its addresses: `64-127.0.20.10.in-addr.arpa`.  The form with a slash is as good to resolvers, but no name of a
host and no name of a file.  A /32 needs no zone of its own.
IPv6: zones end at a nibble boundary, /124 at most.  Zone names carry no trailing dot.
"""

from __future__ import annotations

import ipaddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MODES = ("off", "on", "rfc2317")


def reverse_zones(cidr: str, mode: str = "on") -> tuple[str, ...]:
    """The reverse zones that a network needs, in order of address; at most 128 for IPv4, 8 for IPv6; none when off."""
    network = ipaddress.ip_network(cidr)
    if mode == "off":
        return ()
    if is_classless(cidr, mode):
        return (_classless(network),)
    length = _zone_length(network)
    if length <= network.prefixlen:
        return (_zone_name(ipaddress.ip_network((network.network_address, length), strict=False)),)
    return tuple(_zone_name(part) for part in network.subnets(new_prefix=length))


def reverse_zone_of(address: str, cidr: str, mode: str = "on") -> str:
    """The one of a network's reverse zones that holds an address's PTR record."""
    network = ipaddress.ip_network(cidr)
    if is_classless(cidr, mode):
        return _classless(network)
    length = _zone_length(network)
    return _zone_name(ipaddress.ip_network((ipaddress.ip_address(address), length), strict=False))


def pointer_owner(address: str, cidr: str, mode: str = "on") -> str:
    """The owner of an address's PTR record, absolute, with the trailing dot."""
    if not is_classless(cidr, mode):
        return ipaddress.ip_address(address).reverse_pointer + "."
    return f"{address.rpartition('.')[2]}.{reverse_zone_of(address, cidr, mode)}."


def is_classless(cidr: str, mode: str) -> bool:
    """Whether a network has a reverse zone that is smaller than a /24 (RFC 2317)."""
    return mode == "rfc2317" and ":" not in cidr and 24 < int(cidr.rpartition("/")[2]) < 32


def glue_zone(cidr: str, mode: str) -> str | None:
    """The /24's zone in which CNAMEs lead to a classless zone; None when the network has no classless zone.

    Nobody else answers for private addresses, so that zone is ours to serve too; that of public ones is the provider's,
    who has the same CNAMEs in it.
    """
    if not is_classless(cidr, mode):
        return None
    return _zone_name(ipaddress.ip_network((cidr.partition("/")[0], 24), strict=False))


def owns_glue(cidr: str) -> bool:
    """Whether the /24 above a classless zone is private, and so served by us."""
    return ipaddress.ip_network(cidr).is_private


def _classless(network: Network) -> str:
    first, last = (str(end).rpartition(".") for end in (network[0], network[-1]))
    return f"{first[2]}-{last[2]}.{'.'.join(reversed(first[0].split('.')))}.in-addr.arpa"


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
