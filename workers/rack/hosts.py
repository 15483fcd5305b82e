"""DHCP hosts on Kea 2: one included file for each subnet and one `config-set` for all changes of a batch.

The files are what Kea starts from, so they are written first; if Kea refuses, they are put back and the good
configuration is sent again at once, because Kea is deaf until it gets one.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from workers.rack.channels import kea
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.files import ServiceDirectories, change_owner, write_atomically
from workers.rack.offer import SubnetOffer
from workers.rack.probes.base import ProbeFailure
from workers.rack.probes.dhcp4 import discover

log = structlog.get_logger()

SERVICE = "kea4"
USER = "_kea"
SAMPLE = 20
_KEY = re.compile(r"host:(\d+):([0-9a-f]{2}(?::[0-9a-f]{2}){5})")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
Asker = Callable[..., Any]


@dataclass(frozen=True)
class Host:
    """One address promised to one MAC in one subnet."""

    subnet_id: int
    mac: str
    address: str
    hostname: str | None

    def as_kea(self) -> dict[str, str]:
        """Kea's reservation."""
        entry = {"hw-address": self.mac, "ip-address": self.address}
        return {**entry, "hostname": self.hostname} if self.hostname else entry


def parse_key(key: str) -> tuple[int, str]:
    """Subnet id and MAC.  ValueError for anything that is not a host's key."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"record {key!r}: a VLAN's records are host:<subnet id>:<mac in lower case>")
    return int(match.group(1)), match.group(2)


def parse_host(key: str, value: dict[str, Any]) -> Host:
    """A host from its record.  ValueError names the key and what is wrong with it."""
    subnet_id, mac = parse_key(key)
    try:
        if (int(value["subnet_id"]), str(value["mac"]).lower()) != (subnet_id, mac):
            raise ValueError("subnet and MAC do not match the key")
        hostname = value.get("hostname")
        if hostname and not _HOSTNAME.fullmatch(str(hostname)):
            raise ValueError(f"host name {hostname!r} is no DNS name")
        address = str(ipaddress.IPv4Address(str(value["address"])))
        return Host(subnet_id, mac, address, str(hostname) if hostname else None)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"record {key}: {error}") from error


def render_hosts(hosts: Iterable[Host]) -> bytes:
    """The included file: objects with commas between them and no brackets, in the order of addresses."""
    ordered = sorted(hosts, key=lambda host: (int(ipaddress.IPv4Address(host.address)), host.mac))
    return ",\n".join(json.dumps(host.as_kea(), sort_keys=True) for host in ordered).encode()


class HostFiles:
    """The included files of this rack's Kea."""

    def __init__(self, directories: ServiceDirectories) -> None:
        self._directories = directories

    def write(self, subnet_id: int, hosts: Iterable[Host]) -> bool:
        """Write one subnet's file if it differs; whether it did."""
        path = self._directories.state / "hosts" / f"{subnet_id}.json"
        content = render_hosts(hosts)
        if path.exists() and path.read_bytes() == content:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        change_owner(path.parent, USER)
        write_atomically(path, content, mode=0o640, owner=USER)
        return True

    def activate(self) -> None:
        """Send the present files to Kea.  ChannelDown, ChannelError."""
        config = kea.load_config(self._directories.current / kea.CONFIG_FILE)
        kea.client(self._directories).set_config(config)

    def end_leases(self, given: Iterable[Host], gone: Iterable[Host]) -> None:
        """End leases that keep an address from the host it is promised to.  ChannelDown if Kea is away.

        Kea does not honour a reservation while another client's lease of the address lives (Kea ARM, "Conflicts in
        DHCPv4 Reservations"), and a released machine's lives on.  For a host that is gone, its own lease of its address
        is ended; for one that is given an address, anybody else's.  That is safe: Muster takes an address away from a
        machine that is switched off, and the holder is not entitled to it any more; should it live and renew, Kea knows
        no lease and refuses.  Leases out of a dynamic range are left alone unless their holder is gone: those were
        nobody's promise and may be in use.  So are declined addresses (state 1), which something unknown uses.

        One question for each host, and one order for each stale lease.  What Kea refuses is logged: whether the address
        can be had is found out by asking as a client.
        """
        asked = {host.address: (host, False) for host in gone} | {host.address: (host, True) for host in given}
        ended = {(host.address, host.mac) for host in gone}
        daemon = kea.client(self._directories)
        try:
            if not asked or not {"lease4-get", "lease4-del"} <= daemon.commands():
                return
            pools = kea.pools(self._directories.current / kea.CONFIG_FILE)
            for address, (host, is_given) in asked.items():
                lease = daemon.lease(address)
                holder = str(lease.get("hw-address", "")).lower()
                if not lease or lease.get("state") != 0 or (is_given and holder == host.mac):
                    continue
                number = int(ipaddress.IPv4Address(address))
                dynamic = any(start <= number <= end for start, end in pools.get(host.subnet_id, ()))
                if (address, holder) in ended or (is_given and not dynamic):
                    daemon.end_lease(address)
                    log.info("lease.ended", address=address, holder=holder, host=host.mac if is_given else None)
        except ChannelDown:
            raise
        except ChannelError as error:
            log.warning("lease.kept", reason=str(error))

    def packets_received(self) -> int:
        """How many questions Kea has seen."""
        return kea.client(self._directories).packets_received()


def conflicts(hosts: Iterable[Host], subnet: SubnetOffer | None) -> dict[tuple[int, str], str]:
    """Hosts that cannot be served beside the others, with the reason: outside the subnet, or an address taken."""
    found: dict[tuple[int, str], str] = {}
    taken: dict[str, Host] = {}
    for host in hosts:
        if subnet is not None and ipaddress.IPv4Address(host.address) not in ipaddress.ip_network(subnet.cidr):
            found[host.subnet_id, host.mac] = (
                f"address {host.address} is not in subnet {subnet.cidr}; correct the address"
            )
        elif (other := taken.get(host.address)) is not None:
            found[host.subnet_id, host.mac] = (
                f"address {host.address} is promised to {other.mac} already; give one of them another address"
            )
        else:
            taken[host.address] = host
    return found


def check_as_client(
    hosts: list[Host], subnets: dict[int, SubnetOffer], files: HostFiles, port: int, ask: Asker = discover
) -> dict[tuple[int, str], str]:
    """Ask for the address of each of at most SAMPLE hosts with its own MAC; what was wrong.

    Nothing is taken, so no lease comes of it.  Silence counts only if the question did not arrive either: ChannelDown.
    """
    wrong: dict[tuple[int, str], str] = {}
    for host in hosts[:: max(1, -(-len(hosts) // SAMPLE))]:
        subnet = subnets.get(host.subnet_id)
        if subnet is None or subnet.rack_address is None:
            continue
        ours = frozenset(
            str(item.rack_address)
            for item in subnets.values()
            if item.interface == subnet.interface and item.rack_address
        )
        before = files.packets_received()
        try:
            offered = ask(subnet.interface, host.mac, ours, port)
        except ProbeFailure as failure:
            if files.packets_received() <= before:
                raise ChannelDown(f"kea does not hear {host.mac} on {subnet.interface}: {failure}") from failure
            continue
        if offered.address != host.address:
            wrong[host.subnet_id, host.mac] = (
                f"asking as {host.mac} gets {offered.address} instead of {host.address}; another machine may hold it"
            )
    return wrong
