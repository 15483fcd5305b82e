"""radvd: router advertisements where a VLAN asks for them, above all so that iPXE's IPv6 wait ends at once.

A rack never routes: the router lifetime is 0 (RFC 4861, section 4.2), so no machine takes it for a default gateway.
Addresses are not by DHCPv6, so the M and O flags are off.  A VLAN without an IPv6 subnet still gets an advertisement,
without a prefix.
"""

from __future__ import annotations

import ipaddress

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent, VlanIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "radvd"
FILE = "radvd.conf"
SLAAC_LENGTH = 64
"""Only a /64 can be autoconfigured from (RFC 4862, section 5.5.3, with interface ids of 64 bits)."""


def _vlans(intent: RackIntent) -> list[VlanIntent]:
    return [vlan for vlan in intent.vlans if vlan.router_advertisements]


def render(intent: RackIntent) -> Bundle:
    """One file, not writable by radvd's own user: radvd refuses that."""
    interfaces = [
        {
            "name": vlan.interface,
            "mtu": vlan.mtu,
            "prefixes": [
                (subnet.cidr, ipaddress.ip_network(text.network(subnet.cidr)).prefixlen == SLAAC_LENGTH)
                for subnet in vlan.subnets
                if subnet.family == 6
            ],
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
)
