"""Subnets and shared networks of Kea's DHCPv4 server.

A VLAN with several subnets is a shared network.  A relayed VLAN's subnets name no interface: Kea finds them by the relay
agent's address (giaddr), and a question without one must not find them.
A subnet that ignores unknown clients lends its pools to clients with a host record only (Kea's class KNOWN), and is not
`authoritative`: it must not send a DHCPNAK to a client that another server serves.
"""

from __future__ import annotations

from renderers import kea, text
from renderers.dhcp import kea_layers
from renderers.dhcp.boot import boot_files
from renderers.dhcp.kea_options import Entry, option, raw
from renderers.dhcp.routes import encode, with_default
from renderers.dhcp.subnets import is_authoritative, network_of, servers
from renderers.intent import RackIntent, SubnetIntent, VlanIntent

STANDARD_MTU = 1500
ROUTES = 121
KIND = "kea4"


def network_entry(vlan: VlanIntent, subnets: list[Entry]) -> Entry:
    """A shared network."""
    on = {} if vlan.relayed else {"interface": vlan.interface}
    return kea_layers.network({"name": f"vlan-{vlan.vlan_id}", **on, "subnet4": subnets}, vlan, KIND)


def subnet_entry(intent: RackIntent, service: str, vlan: VlanIntent, subnet: SubnetIntent) -> Entry:
    """One subnet with its pools. ValueError names what does not fit together."""
    network_of(vlan, subnet)
    entry: Entry = {
        "id": subnet.subnet_id,
        "subnet": subnet.cidr,
        **({} if vlan.relayed else {"interface": vlan.interface}),
        "next-server": subnet.rack_address,
        "valid-lifetime": subnet.lease_seconds,
        "calculate-tee-times": True,
        **({} if is_authoritative(vlan) else {"authoritative": False}),
        "option-data": kea_layers.subnet_options(_options(vlan, subnet), intent, vlan, subnet, KIND),
        "require-client-classes": [f"{kind}-{subnet.subnet_id}" for kind in boot_files(intent, subnet)],
        "pools": [kea_layers.pool(subnet, pool, KIND) for pool in subnet.pools if subnet.managed],
        "reservations": kea.reservations(intent, service, subnet.subnet_id),
    }
    return kea_layers.subnet(entry, subnet, KIND)


def _options(vlan: VlanIntent, subnet: SubnetIntent) -> list[Entry]:
    """What every client of the subnet is told."""
    own = []
    if subnet.gateway is not None:
        own.append(option("routers", text.address(subnet.gateway)))
    if subnet.routes:
        # A client that gets it ignores the routers (RFC 3442), so it is for those only that ask for it.
        routes = with_default(subnet.routes, subnet.gateway)
        own.append(raw(ROUTES, encode(routes), "; ".join(f"{one.destination} via {one.gateway}" for one in routes)))
    own.append(option("domain-name-servers", *servers(subnet, "DNS", subnet.dns_servers)))
    own.append(option("ntp-servers", *servers(subnet, "NTP", subnet.ntp_servers)))
    if subnet.domain:
        own += [option(word, text.domain(subnet.domain)) for word in ("domain-name", "domain-search")]
    if vlan.mtu != STANDARD_MTU:
        own.append(option("interface-mtu", str(vlan.mtu)))
    return own
