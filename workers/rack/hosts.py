"""One DHCP host as a rack sees it: read from its record, compared with its neighbours.  Pure.

A record's key is `host:<subnet id>:<mac>`; its value holds `subnet_id`, `mac`, `address` and `hostname`, and `options`
where the machine has DHCP options of its own (`name` and `value`, as `renderers.dhcp.options` reads them).  The address
says the family, and so which daemon serves it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from renderers.dhcp import kea_options
from renderers.dhcp.options import Option, parse_line
from workers.rack.offer import SubnetOffer

_KEY = re.compile(r"host:(\d+):([0-9a-f]{2}(?::[0-9a-f]{2}){5})")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Host:
    """One address promised to one MAC in one subnet."""

    subnet_id: int
    mac: str
    address: str
    hostname: str | None
    options: tuple[Option, ...] = ()

    @property
    def key(self) -> str:
        """Its record's key."""
        return f"host:{self.subnet_id}:{self.mac}"

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    def as_kea(self) -> dict[str, Any]:
        """Kea's reservation (Kea ARM, "Host Reservations")."""
        entry: dict[str, Any] = {"hw-address": self.mac}
        if self.family == 6:
            entry["ip-addresses"] = [self.address]
        else:
            entry["ip-address"] = self.address
        if self.options:
            entry["option-data"] = [kea_options.of(option) for option in self.options]
        return {**entry, "hostname": self.hostname} if self.hostname else entry


@dataclass(frozen=True)
class HostChange:
    """One host as it was and as it should be; None means that it was, or should, not be there."""

    scope: str
    key: str
    before: Host | None
    after: Host | None

    @property
    def subnet_id(self) -> int:
        """The subnet it is about."""
        return parse_key(self.key)[0]

    @property
    def inverse(self) -> HostChange:
        """The change that takes this one back."""
        return HostChange(self.scope, self.key, self.after, self.before)


def parse_key(key: str) -> tuple[int, str]:
    """Subnet id and MAC.  ValueError for anything that is not a host's key."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"record {key!r}: a VLAN's records are host:<subnet id>:<mac in lower case>")
    return int(match.group(1)), match.group(2)


def parse_host(key: str, value: Mapping[str, Any]) -> Host:
    """A host from its record.  ValueError names the key and what is wrong with it."""
    subnet_id, mac = parse_key(key)
    try:
        if (int(value["subnet_id"]), str(value["mac"]).lower()) != (subnet_id, mac):
            raise ValueError("subnet and MAC do not match the key")
        hostname = value.get("hostname")
        if hostname and not _HOSTNAME.fullmatch(str(hostname)):
            raise ValueError(f"host name {hostname!r} is no DNS name")
        address = str(ipaddress.ip_address(str(value["address"])))
        said = [parse_line(f"{item['name']} {item['value']}", "machine") for item in value.get("options") or ()]
        options = tuple(sorted(said, key=lambda option: option.code))
        return Host(subnet_id, mac, address, str(hostname) if hostname else None, options)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"record {key}: {error}") from error


def conflicts(
    changes: Sequence[HostChange],
    holders: Callable[[HostChange], Iterable[Host]],
    subnets: Mapping[int, SubnetOffer],
) -> dict[tuple[str, str], str]:
    """Changes that do not fit beside the others, with the reason: an address outside its subnet, or taken.

    holders: the hosts that hold the address of a change by now; a host that one of these changes moves makes room,
    unless its own change is refused.  The newcomer is refused, and of two newcomers the later one.
    """
    found: dict[tuple[str, str], str] = {}
    while True:
        known = len(found)
        moving = {(item.scope, item.key) for item in changes} - found.keys()
        taken: dict[tuple[int, str], Host] = {}
        for change in changes:
            host = change.after
            if host is None or (change.scope, change.key) in found:
                continue
            subnet = subnets.get(host.subnet_id)
            if subnet is not None and ipaddress.ip_address(host.address) not in ipaddress.ip_network(subnet.cidr):
                found[change.scope, change.key] = (
                    f"address {host.address} is not in subnet {subnet.cidr}; correct the address"
                )
                continue
            others = [other for other in holders(change) if (change.scope, other.key) not in moving]
            other = others[0] if others else taken.get((host.subnet_id, host.address))
            if other is not None:
                found[change.scope, change.key] = (
                    f"address {host.address} is promised to {other.mac} already; give one of them another address"
                )
                continue
            taken[host.subnet_id, host.address] = host
        if len(found) == known:
            return found
