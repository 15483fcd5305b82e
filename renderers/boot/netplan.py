"""Network configuration of one installed machine, netplan v2 as cloud-init's NoCloud source reads it.

Interfaces are matched by MAC and given their inventory name, so that a kernel that counts differently changes nothing.
Addresses are static in both families and need neither DHCP nor router advertisements: those are not listened to, or a
machine would have addresses and routes beside the ones that Muster gave it.
The text is JSON, which is YAML too.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass

from renderers import text

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
STANDARD_MTU = 1500


@dataclass(frozen=True)
class Route:
    """A network that is reached through a gateway in one of the interface's networks."""

    to: str
    via: str
    metric: int = 0


@dataclass(frozen=True)
class Nic:
    """One interface: its addresses as address/length, and the gateways that lie in their networks.

    An IPv6 gateway may be link-local (RFC 4291, section 2.5.6); then it is on the interface's link.  dhcp4, dhcp6: whether
    the system asks for an address; dhcp_metric: that of the routes it then gets, so that of two such interfaces one has
    the default route.
    """

    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    mtu: int = STANDARD_MTU
    routes: tuple[Route, ...] = ()
    dhcp4: bool = False
    dhcp6: bool = False
    dhcp_metric: int | None = None


def network_config(nics: tuple[Nic, ...]) -> dict[str, object]:
    """Return the configuration as data. ValueError names the interface and what is wrong with it."""
    for kind in ("name", "mac"):
        values = [getattr(nic, kind) for nic in nics]
        if len(values) != len(set(values)):
            raise ValueError(
                f"network configuration: two interfaces have the same {kind} in {values}; make them differ"
            )
    if not nics:
        raise ValueError("network configuration: no interface; give the machine at least one")
    return {"version": 2, "ethernets": {text.interface(nic.name): _ethernet(nic) for nic in nics}}


def dump(nics: tuple[Nic, ...]) -> str:
    """Return the configuration as text, the seed file `network-config`."""
    return json.dumps(network_config(nics), indent=2) + "\n"


def _is_link_local(gateway: str) -> bool:
    address = ipaddress.ip_address(text.address(gateway))
    return address.version == 6 and address.is_link_local


def _ethernet(nic: Nic) -> dict[str, object]:
    if not MAC.fullmatch(nic.mac):
        raise ValueError(f"interface {nic.name}: {nic.mac!r} is no MAC address of six lower-case bytes with colons")
    addresses: list[ipaddress.IPv4Interface | ipaddress.IPv6Interface] = []
    for value in nic.addresses:
        if "/" not in value:
            raise ValueError(f"interface {nic.name}: address {value!r} has no prefix length; write address/length")
        addresses.append(ipaddress.ip_interface(value))
    made: dict[str, object] = {
        "match": {"macaddress": nic.mac},
        "set-name": nic.name,
        "dhcp4": nic.dhcp4,
        "dhcp6": nic.dhcp6,
        # DHCPv6 gives no route, and a client asks for an address when a router says so (RFC 4861, section 4.2, M flag).
        "accept-ra": nic.dhcp6,
        # Without addresses the interface need not come up before the machine counts as online.
        "optional": not addresses and not nic.dhcp4 and not nic.dhcp6,
    }
    for family, wanted in (("dhcp4", nic.dhcp4), ("dhcp6", nic.dhcp6)):
        if wanted and nic.dhcp_metric is not None:
            made[f"{family}-overrides"] = {"route-metric": nic.dhcp_metric}
    if addresses:
        made["addresses"] = [str(address) for address in addresses]
    routes: list[dict[str, object]] = []
    for gateway in nic.gateways:
        # `default` means both families since netplan 0.95; the networks are understood by every version.
        routes.append(_route(nic, "::/0" if ":" in gateway else "0.0.0.0/0", gateway, addresses))
    for item in nic.routes:
        metric = {"metric": item.metric} if item.metric else {}
        routes.append(_route(nic, text.network(item.to), item.via, addresses) | metric)
    if routes:
        made["routes"] = routes
    if nic.nameservers:
        made["nameservers"] = {
            "addresses": [text.address(item) for item in nic.nameservers],
            "search": [text.domain(item) for item in nic.search],
        }
    if nic.mtu != STANDARD_MTU:
        if not 576 <= nic.mtu <= 65535:
            raise ValueError(f"interface {nic.name}: MTU {nic.mtu} is outside 576 to 65535 bytes")
        made["mtu"] = nic.mtu
    return made


def _route(
    nic: Nic, network: str, gateway: str, addresses: list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]
) -> dict[str, object]:
    """One route. ValueError when the interface cannot reach the gateway."""
    if _is_link_local(gateway) and any(item.version == 6 for item in addresses):
        return {"to": network, "via": gateway, "on-link": True}
    if not any(ipaddress.ip_address(text.address(gateway)) in item.network for item in addresses):
        raise ValueError(f"interface {nic.name}: gateway {gateway} is in none of {', '.join(nic.addresses)}")
    return {"to": network, "via": gateway}
