"""radvd: router advertisements where a VLAN asks for them, above all so that iPXE's IPv6 wait ends at once.

A rack never routes: the router lifetime is 0 (RFC 4861, section 4.2), so no machine takes it for a default gateway.
What an advertisement says of addresses follows from the subnets: the M flag (addresses by DHCPv6) is on where this rack
serves DHCPv6 for a subnet with a dynamic range that is not left to autoconfiguration (iPXE asks for 15 s where it finds
the flag and no address), the O flag (other settings by DHCPv6) where it serves DHCPv6 at all.  A prefix may be
autoconfigured from only where that was chosen for its subnet, which must be a /64.
A VLAN without an IPv6 subnet still gets an advertisement, without a prefix.
Of two racks on a VLAN both advertise where they are partners and the secondary serves all of the VLAN's IPv6 subnets, also
while it stands by: they say the same then (RFC 4861, section 6.2.7, wants it, and iPXE goes by the first advertisement that
it hears), and no machine waits for one while the primary is away.  Only the resolvers differ: each names its own, and
machines take both.  Elsewhere the primary alone advertises, because the secondary's flags would be others.
"""

from __future__ import annotations

import ipaddress

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.dhcp import kea_ha
from renderers.intent import RackIntent, SubnetIntent, VlanIntent
from renderers.services import kea6
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "radvd"
FILE = "radvd.conf"
SLAAC_LENGTH = 64
"""Only a /64 can be autoconfigured from (RFC 4862, section 5.5.3, with interface ids of 64 bits)."""


def _vlans(intent: RackIntent) -> list[VlanIntent]:
    """Where it is wanted, the rack is on the link, and it says what the VLAN's other rack says, if there is one."""
    wanted = [vlan for vlan in intent.vlans if vlan.router_advertisements and not vlan.relayed]
    return [vlan for vlan in wanted if not vlan.secondary or _says_the_same(intent, vlan)]


def _says_the_same(intent: RackIntent, vlan: VlanIntent) -> bool:
    """Whether a secondary serves DHCPv6 on the VLAN as its primary does."""
    addressed = all(subnet.rack_address is not None for subnet in vlan.subnets if subnet.family == 6)
    return vlan.dhcp_on and addressed and kea_ha.partners(intent, kea6.NAME) is not None


def _leased_from(subnet: SubnetIntent) -> bool:
    """Whether a client that Muster knows nothing of is given an address by DHCPv6."""
    return bool(subnet.pools) and subnet.managed and not subnet.slaac


def _autonomous(subnet: SubnetIntent) -> bool:
    """Whether clients make up addresses. ValueError where that was chosen and cannot be."""
    if subnet.slaac and ipaddress.ip_network(text.network(subnet.cidr)).prefixlen != SLAAC_LENGTH:
        raise ValueError(f"subnet {subnet.cidr}: only a /{SLAAC_LENGTH} can be autoconfigured from; switch SLAAC off")
    return subnet.slaac


def render(intent: RackIntent) -> Bundle:
    """One file, not writable by radvd's own user: radvd refuses that."""
    by_dhcp = {vlan.vlan_id: subnets for vlan, subnets in kea6.served_vlans(intent)}
    interfaces = [
        {
            "name": vlan.interface,
            "mtu": vlan.mtu,
            "managed": any(map(_leased_from, by_dhcp.get(vlan.vlan_id, ()))),
            "other": vlan.vlan_id in by_dhcp,
            "prefixes": [(subnet.cidr, _autonomous(subnet)) for subnet in vlan.subnets if subnet.family == 6],
            "servers": [sub.rack_address for sub in vlan.subnets if sub.family == 6 and sub.rack_address is not None],
            "domains": list(dict.fromkeys(sub.domain for sub in vlan.subnets if sub.family == 6 and sub.domain)),
        }
        for vlan in _vlans(intent)
    ]
    return Bundle(
        NAME, (RenderedFile(FILE, text.fill("config/radvd/radvd.conf.j2", interfaces=interfaces), 0o644, "root"),)
    )


SERVICE = ServiceSpec(
    name=NAME,
    title="Router advertisements (radvd)",
    wanted=lambda intent: bool(_vlans(intent)),
    render=render,
    command=("radvd", "-n", "-m", "stderr", "-u", "radvd", "-p", "{run}/radvd.pid", "-C", f"{{current}}/{FILE}"),
    checker=("radvd", "-c", "-C", f"{{staged}}/{FILE}"),
    user="radvd",
    channel="radvd",
    probes=lambda intent: tuple(
        ProbeSpec("router_solicitation", (("interface", vlan.interface),)) for vlan in _vlans(intent)
    ),
    packages=("radvd",),
    rival_units=("radvd.service",),
)
