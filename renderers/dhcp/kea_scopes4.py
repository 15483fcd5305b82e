"""Subnets and shared networks of Kea's DHCPv4 server.

A VLAN with several subnets is a shared network.  A relayed VLAN's subnets name no interface: Kea finds them by the relay
agent's address (giaddr), and a question without one must not find them.
A subnet that ignores unknown clients lends its pools to clients with a host record only (Kea's class KNOWN), and is not
`authoritative`: it must not send a DHCPNAK to a client that another server serves.
"""

from __future__ import annotations

import ipaddress

from renderers import kea, text
from renderers.dhcp import kea_layers
from renderers.dhcp.boot import boot_files
from renderers.dhcp.kea_options import Entry, option, raw
from renderers.dhcp.routes import encode, with_default
from renderers.intent import PoolIntent, RackIntent, SubnetIntent, VlanIntent

STANDARD_MTU = 1500
ROUTES = 121
KIND = "kea4"


def network_entry(vlan: VlanIntent, subnets: list[Entry]) -> Entry:
    """A shared network."""
    on = {} if vlan.relayed else {"interface": vlan.interface}
    return kea_layers.network({"name": f"vlan-{vlan.vlan_id}", **on, "subnet4": subnets}, vlan, KIND)


def subnet_entry(intent: RackIntent, service: str, vlan: VlanIntent, subnet: SubnetIntent) -> Entry:
    """One subnet with its pools. ValueError names what does not fit together."""
    network = ipaddress.IPv4Network(text.network(subnet.cidr))
    name = f"subnet {subnet.cidr}"
    rack = ipaddress.IPv4Address(text.address(subnet.rack_address))
    if not vlan.relayed and rack not in network:
        raise ValueError(f"{name}: the rack's address {subnet.rack_address} is not in it; correct the address")
    entry: Entry = {
        "id": subnet.subnet_id,
        "subnet": subnet.cidr,
        **({} if vlan.relayed else {"interface": vlan.interface}),
        "next-server": subnet.rack_address,
        "valid-lifetime": subnet.lease_seconds,
        "calculate-tee-times": True,
        # Kea wants one answer to this from all subnets of a shared network.
        **({"authoritative": False} if any(ignores_strangers(one) for one in vlan.subnets) else {}),
        "option-data": kea_layers.subnet_options(_options(vlan, subnet), intent, vlan, subnet, KIND),
        "require-client-classes": [f"{kind}-{subnet.subnet_id}" for kind in boot_files(intent, subnet)],
        "pools": [_pool(subnet, network, pool) for pool in subnet.pools if subnet.managed],
        "reservations": kea.reservations(intent, service, subnet.subnet_id),
    }
    return kea_layers.subnet(entry, subnet, KIND)


def ignores_strangers(subnet: SubnetIntent) -> bool:
    """Whether clients without a host record get no answer. ValueError names a policy that is none."""
    if subnet.unknown_clients not in ("serve", "ignore"):
        raise ValueError(f"subnet {subnet.cidr}: unknown clients {subnet.unknown_clients!r}; use serve or ignore")
    return subnet.unknown_clients == "ignore"


def _pool(subnet: SubnetIntent, network: ipaddress.IPv4Network, pool: PoolIntent) -> Entry:
    start, end = ipaddress.IPv4Address(text.address(pool.start)), ipaddress.IPv4Address(text.address(pool.end))
    if start > end or start not in network or end not in network:
        raise ValueError(
            f"subnet {subnet.cidr}: range {pool.start}-{pool.end} is upside down or not inside; correct the range"
        )
    entry: Entry = {"pool": f"{pool.start} - {pool.end}"}
    if ignores_strangers(subnet):
        entry["client-class"] = "KNOWN"
    return kea_layers.pool(entry, pool, KIND)


def _options(vlan: VlanIntent, subnet: SubnetIntent) -> list[Entry]:
    """What every client of the subnet is told."""
    name = f"subnet {subnet.cidr}"
    own = []
    if subnet.gateway is not None:
        own.append(option("routers", text.address(subnet.gateway)))
    if subnet.routes:
        # A client that gets it ignores the routers (RFC 3442), so it is for those only that ask for it.
        routes = with_default(subnet.routes, subnet.gateway)
        own.append(raw(ROUTES, encode(routes), "; ".join(f"{one.destination} via {one.gateway}" for one in routes)))
    own.append(option("domain-name-servers", *_addresses(name, "DNS", subnet.dns_servers, subnet.rack_address)))
    own.append(option("ntp-servers", *_addresses(name, "NTP", subnet.ntp_servers, subnet.rack_address)))
    if subnet.domain:
        own += [option(word, text.domain(subnet.domain)) for word in ("domain-name", "domain-search")]
    if vlan.mtu != STANDARD_MTU:
        own.append(option("interface-mtu", str(vlan.mtu)))
    return own


def _addresses(subnet: str, kind: str, given: tuple[str, ...], rack_address: str | None) -> list[str]:
    """The IPv4 addresses among `given`, the rack's own if there are none; names cannot be sent by DHCP."""
    found = []
    for value in given:
        try:
            parsed = ipaddress.ip_address(value)
        except ValueError as error:
            raise ValueError(f"{subnet}: {kind} server {value!r} is no address; DHCP sends addresses only") from error
        if parsed.version == 4:
            found.append(str(parsed))
    return found or [str(rack_address)]
