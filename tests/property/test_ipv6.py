"""IPv6 arithmetic of the renderers, for networks and addresses of any kind."""

from __future__ import annotations

import ipaddress
import re

from hypothesis import given
from hypothesis import strategies as st

from renderers.dhcp.kea_classes import _relay_in
from renderers.intent import SubnetIntent
from renderers.services import kea6
from workers.rack.probes import dhcp6

ADDRESSES = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
NETWORKS = st.builds(
    lambda address, length: ipaddress.IPv6Network((address, length), strict=False), ADDRESSES, st.integers(9, 128)
)


def _holds(test: str, address: ipaddress.IPv6Address) -> bool:
    """What Kea makes of `substring(relay6[-1].linkaddr,0,N) == 0x...`."""
    found = re.fullmatch(r"substring\(relay6\[-1\]\.linkaddr,0,(\d+)\) == 0x([0-9a-f]+)", test)
    assert found is not None, test
    return address.packed[: int(found[1])] == bytes.fromhex(found[2])


@given(NETWORKS, ADDRESSES, st.integers(0, 2**119 - 1))
def test_a_relay_agent_is_told_by_its_network(
    network: ipaddress.IPv6Network, other: ipaddress.IPv6Address, n: int
) -> None:
    """One of the tests holds for every address inside, however the prefix ends within a byte, and none for others."""
    tests = _relay_in(str(network))
    inside = network[n % network.num_addresses]

    assert 1 == sum(_holds(test, inside) for test in tests)
    assert (other in network) == any(_holds(test, other) for test in tests)
    assert len(tests) <= 128


@given(st.lists(ADDRESSES, max_size=6))
def test_ntp_servers_are_suboptions(addresses: list[ipaddress.IPv6Address]) -> None:
    """Option 56 is a row of suboptions 1 of 16 bytes (RFC 5908, section 4.1), in the order given."""
    options = dhcp6_suboptions(kea6.ntp_option([str(address) for address in addresses]))

    assert [(1, address.packed) for address in addresses] == options


def dhcp6_suboptions(data: bytes) -> list[tuple[int, bytes]]:
    """Code and value of each."""
    found = []
    while data:
        code, length = int.from_bytes(data[:2]), int.from_bytes(data[2:4])
        found.append((code, data[4 : 4 + length]))
        data = data[4 + length :]
    return found


@given(NETWORKS)
def test_a_probe_for_a_relayed_network_names_an_address_in_it(network: ipaddress.IPv6Network) -> None:
    """Whatever the length, and whatever the gateway: a link-local one would name no subnet."""
    subnet = SubnetIntent(1, str(network), "fe80::1", "2001:db8::1", (), (), "")

    assert ipaddress.IPv6Address(kea6._link(subnet)) in network


@given(st.binary(min_size=6, max_size=6))
def test_a_link_local_address_gives_its_mac_back(mac: bytes) -> None:
    """The way of RFC 4291, appendix A, and back; different MACs never share an address."""
    packed = dhcp6.link_local_of(mac).packed

    assert dhcp6.link_local_of(mac).is_link_local
    assert mac == bytes([packed[8] ^ 2]) + packed[9:11] + packed[13:]
