"""What a subnet says to every DHCP server, and what is refused, whichever server it is for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from renderers import registry
from renderers.intent import PoolIntent, RackIntent, SubnetIntent
from tests.golden.case import load

FOUR = SubnetIntent(1, "10.9.0.0/24", None, "10.9.0.1", (), (), "")
SIX = SubnetIntent(2, "fd09::/64", None, "fd09::1", (), (), "")
SERVERS = [("kea4", FOUR), ("dhcpd", FOUR), ("kea6", SIX)]


def _intent(*subnets: SubnetIntent) -> RackIntent:
    intent = load("lab")
    return replace(intent, vlans=(replace(intent.vlans[0], subnets=subnets),))


@pytest.mark.parametrize(("service", "subnet"), SERVERS)
def test_what_does_not_fit_a_subnet_is_refused_by_every_server(service: str, subnet: SubnetIntent) -> None:
    """A rack's address elsewhere, ranges that are upside down, outside or of the other family, servers by name."""
    render = registry.service(service).render
    base = subnet.cidr.partition("/")[0].removesuffix("0")
    ends = {
        "upside down": (f"{base}9", f"{base}3"),
        "outside": (f"{base}9", "192.0.2.9"),
        "six": ("fd99::1", "fd99::2"),
    }
    for start, end in ends.values():
        with pytest.raises(ValueError, match=f"range {start}-{end} is upside down or not inside"):
            render(_intent(replace(subnet, pools=(PoolIntent(1, start, end),))))
    with pytest.raises(ValueError, match=r"the rack.s address 192\.0\.2\.1 is not in it"):
        render(_intent(replace(subnet, rack_address="192.0.2.1")))
    with pytest.raises(ValueError, match=r"NTP server .time\.example. is no address"):
        render(_intent(replace(subnet, ntp_servers=("time.example",))))
    with pytest.raises(ValueError, match="'perhaps'; use serve or ignore"):
        render(_intent(replace(subnet, unknown_clients="perhaps", pools=(PoolIntent(1, f"{base}3", f"{base}9"),))))


@pytest.mark.parametrize("service", ["kea4", "dhcpd"])
def test_strangers_of_ipv6_say_nothing_about_ipv4(service: str) -> None:
    """A server of DHCPv4 refuses wrong addresses as before where only the IPv6 subnet ignores unknown clients."""
    render, ignoring = registry.service(service).render, {"unknown_clients": "ignore"}
    texts = [
        {file.path: file.text for file in render(_intent(four, six)).files}
        for four, six in [(FOUR, SIX), (FOUR, replace(SIX, **ignoring)), (replace(FOUR, **ignoring), SIX)]
    ]

    assert texts[0] == texts[1] != texts[2]
