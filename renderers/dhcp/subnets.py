"""What a subnet says of itself to every DHCP server, in both families: its network, ranges, servers and who is served."""

from __future__ import annotations

import ipaddress

from renderers import text
from renderers.intent import PoolIntent, SubnetIntent, VlanIntent

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_of(vlan: VlanIntent, subnet: SubnetIntent) -> Network:
    """The network. ValueError when the rack's address is not in it, as only a relayed one's may be."""
    network = ipaddress.ip_network(text.network(subnet.cidr))
    if not vlan.relayed and ipaddress.ip_address(text.address(subnet.rack_address)) not in network:
        raise ValueError(
            f"subnet {subnet.cidr}: the rack's address {subnet.rack_address} is not in it; correct the address"
        )
    return network


def check_range(subnet: SubnetIntent, pool: PoolIntent) -> None:
    """ValueError for a range that ends before it begins, or is not in the subnet."""
    network = ipaddress.ip_network(text.network(subnet.cidr))
    start, end = (ipaddress.ip_address(text.address(one)) for one in (pool.start, pool.end))
    if int(start) > int(end) or start not in network or end not in network:
        raise ValueError(
            f"subnet {subnet.cidr}: range {pool.start}-{pool.end} is upside down or not inside; correct the range"
        )


def servers(subnet: SubnetIntent, kind: str, given: tuple[str, ...]) -> list[str]:
    """The addresses of the subnet's family among `given`, the rack's own if there are none; DHCP cannot send names."""
    found = []
    for value in given:
        try:
            parsed = ipaddress.ip_address(value)
        except ValueError as error:
            raise ValueError(
                f"subnet {subnet.cidr}: {kind} server {value!r} is no address; DHCP sends addresses only"
            ) from error
        if parsed.version == subnet.family:
            found.append(str(parsed))
    return found or [text.address(subnet.rack_address)]


def ignores_strangers(subnet: SubnetIntent) -> bool:
    """Whether clients without a host record get no answer. ValueError names a policy that is none."""
    if subnet.unknown_clients not in ("serve", "ignore"):
        raise ValueError(f"subnet {subnet.cidr}: unknown clients {subnet.unknown_clients!r}; use serve or ignore")
    return subnet.unknown_clients == "ignore"


def is_authoritative(vlan: VlanIntent) -> bool:
    """Whether DHCPv4 may send a DHCPNAK on the VLAN: not where strangers are ignored, as another server may serve them.

    It is one answer for all IPv4 subnets of a VLAN: Kea wants it so in a shared network.
    """
    return not any(ignores_strangers(one) for one in vlan.subnets if one.family == 4)
