"""Address arithmetic holds for every network, also for those too large to walk over."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services import addressing, names
from app.services.errors import Invalid

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(8, 32)), st.tuples(st.ip_addresses(v=6), st.integers(16, 128))
).map(lambda pair: ipaddress.ip_network(pair, strict=False))


@given(addresses)
def test_canonical_text_is_stable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """However an address is written, there is one text for it, and that text stays."""
    spellings = {address.compressed, address.exploded, address.exploded.upper(), f" {address} "}

    assert {addressing.canonical_address(text) for text in spellings} == {str(address)}


@given(st.lists(st.ip_addresses(v=6), min_size=2, max_size=20))
def test_keys_sort_as_addresses(values: list[ipaddress.IPv6Address]) -> None:
    """Keys, compared as text, are in the order of the addresses."""
    by_key = sorted(values, key=addressing.address_key)

    assert by_key == sorted(values)
    assert {len(addressing.address_key(value)) for value in values} == {32}


@given(addresses)
def test_a_key_gives_its_address_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """A key is the address's number, and the number gives the address's text."""
    network = ipaddress.ip_network((address, address.max_prefixlen))

    assert addressing.address_of(int(addressing.address_key(address), 16), network) == str(address)


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))),
)
def test_first_free_is_what_a_walk_would_find(start: int, length: int, blocked: list[tuple[int, int]]) -> None:
    """The first free number found from the intervals is the one that trying every number finds."""
    walked = next(
        (n for n in range(start, start + length + 1) if not any(low <= n <= high for low, high in blocked)), None
    )

    assert addressing.first_free((start, start + length), sorted(blocked)) == walked


@given(networks)
def test_supernets_hold_the_address(network: addressing.Network) -> None:
    """A network is among the candidates for each of its addresses, first and last."""
    for address in (network.network_address, network.broadcast_address):
        assert str(network) in set(addressing.supernets(address))


@given(networks, st.integers(0, 2**128))
def test_every_address_has_its_ptr_in_a_zone_of_its_subnet(network: addressing.Network, pick: int) -> None:
    """The zone of an address is one of its subnet's reverse zones, and the PTR's owner lies below it."""
    length = {4: 16, 6: 48}[network.version]
    if network.prefixlen < length:
        network = ipaddress.ip_network((network.network_address, length), strict=False)
    address = str(network[pick % network.num_addresses])
    zone = names.reverse_zone_of(address, str(network))

    assert zone in names.reverse_zones(str(network))
    assert names.reverse_name(address).endswith(f".{zone}.") or names.reverse_name(address) == f"{zone}."


@pytest.mark.parametrize(
    ("cidr", "zones"),
    [
        ("10.20.0.0/24", ("0.20.10.in-addr.arpa",)),
        ("10.20.0.128/25", ("0.20.10.in-addr.arpa",)),
        ("10.20.0.0/23", ("0.20.10.in-addr.arpa", "1.20.10.in-addr.arpa")),
        ("10.20.0.0/16", ("20.10.in-addr.arpa",)),
        ("10.0.0.0/8", ("10.in-addr.arpa",)),
        ("10.20.0.0/15", ("20.10.in-addr.arpa", "21.10.in-addr.arpa")),
        ("2001:db8::/64", ("0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",)),
        ("2001:db8::/31", ("8.b.d.0.1.0.0.2.ip6.arpa", "9.b.d.0.1.0.0.2.ip6.arpa")),
    ],
)
def test_reverse_zones_end_at_a_boundary(cidr: str, zones: tuple[str, ...]) -> None:
    """A subnet gives the zones of the next octet or nibble boundary."""
    assert names.reverse_zones(cidr) == zones


@pytest.mark.parametrize(
    ("cidr", "space"),
    [
        ("10.0.0.0/30", ("10.0.0.1", "10.0.0.2")),
        ("10.0.0.0/31", ("10.0.0.0", "10.0.0.1")),
        ("2001:db8::/64", ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")),
        ("2001:db8::/127", ("2001:db8::", "2001:db8::1")),
    ],
)
def test_usable_keeps_the_reserved_addresses(cidr: str, space: tuple[str, str]) -> None:
    """Network, broadcast and subnet-router anycast addresses are not for hosts."""
    network = ipaddress.ip_network(cidr)
    first, last = addressing.usable(network)

    assert (addressing.address_of(first, network), addressing.address_of(last, network)) == space


@pytest.mark.parametrize("text", ["10.0.0.1/24", "10.0.0.0/33", "lab", "10.0.0.0/7", "::/8", ""])
def test_what_is_no_subnet_is_refused(text: str) -> None:
    """Host bits, wrong prefixes and networks wider than Muster serves are refused."""
    with pytest.raises(Invalid):
        addressing.parse_network(text)
