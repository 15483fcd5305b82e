"""Hosts in Kea's own configuration: one included file for each subnet and one `config-set` for all changes of a batch.

It fits every Kea, and is the last resort: Kea does not answer while it reads, 0.7 s at 10,000 hosts.  The files are
what Kea starts from, so they are written first; if Kea refuses, they are put back and the good configuration is sent
again at once, because Kea is deaf until it gets one.  A refused batch is halved until the culprits are found.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from renderers.dhcp import kea_options
from workers.rack.channels import kea
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.files import change_owner, write_atomically
from workers.rack.host_strategies.base import HostDaemon, Refusals
from workers.rack.hosts import Host, HostChange

USER = "_kea"


def render_hosts(hosts: Iterable[Host]) -> bytes:
    """The included file: objects with commas between them and no brackets, in the order of addresses."""
    ordered = sorted(hosts, key=lambda host: (int(ipaddress.ip_address(host.address)), host.mac))
    return ",\n".join(json.dumps(host.as_kea(), sort_keys=True) for host in ordered).encode()


def parse_hosts(subnet_id: int, content: bytes) -> dict[str, Host]:
    """The hosts of an included file by key.  ValueError if somebody else has written it."""
    found: dict[str, Host] = {}
    for entry in json.loads(b"[" + content + b"]"):
        address = entry.get("ip-address") or next(iter(entry.get("ip-addresses") or ()), "")
        options = kea_options.read(entry.get("option-data", ()), 6 if ":" in str(address) else 4)
        host = Host(subnet_id, str(entry["hw-address"]).lower(), str(address), entry.get("hostname") or None, options)
        found[host.key] = host
    return found


def hosts_file(daemon: HostDaemon, subnet_id: int) -> Path:
    """Where the included file of a subnet is."""
    return daemon.directories.state / "hosts" / f"{subnet_id}.json"


def write_hosts(daemon: HostDaemon, subnet_id: int, hosts: Iterable[Host]) -> bool:
    """Write one subnet's file if it differs; whether it did."""
    path, content = hosts_file(daemon, subnet_id), render_hosts(hosts)
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    change_owner(path.parent, USER)
    write_atomically(path, content, mode=0o640, owner=USER)
    return True


def write_all(daemon: HostDaemon, hosts: Mapping[int, Iterable[Host]]) -> bool:
    """Write the files that differ; whether any did."""
    written = [write_hosts(daemon, subnet_id, mine) for subnet_id, mine in hosts.items()]
    return any(written)


def read_hosts(daemon: HostDaemon, subnet_ids: Collection[int]) -> dict[int, dict[str, Host]]:
    """What the included files hold; a damaged or absent one holds nothing."""
    found: dict[int, dict[str, Host]] = {}
    for subnet_id in subnet_ids:
        try:
            found[subnet_id] = parse_hosts(subnet_id, hosts_file(daemon, subnet_id).read_bytes())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            found[subnet_id] = {}
    return found


class KeaConfig:
    """Files and `config-set`."""

    name = "config-set"
    services = frozenset({"kea4", "kea6"})
    rank = 90

    def fits(self, daemon: HostDaemon) -> bool:
        """Always."""
        return True

    def apply(self, daemon: HostDaemon, changes: Sequence[HostChange]) -> Refusals:
        """Write and send; if Kea refuses, back, and in halves until the culprits are found."""
        touched = {change.subnet_id for change in changes}
        hosts = {subnet_id: {host.key: host for host in daemon.stored(subnet_id)} for subnet_id in touched}
        refused: Refusals = {}
        self._apply(daemon, list(changes), hosts, refused)
        return refused

    def present(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> dict[int, dict[str, Host]]:
        """What the files hold: Kea was given them, and `config-get` would show secrets."""
        return read_hosts(daemon, subnet_ids)

    def load(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> dict[str, str]:
        """Write what differs, and send if anything did."""
        if write_all(daemon, wanted):
            self._send(daemon)
        return {}

    def prepare(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> None:
        """The included file of every subnet exists."""
        write_all(daemon, wanted)

    def settle(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> None:
        """Nothing to do: what is live is on the disk."""

    def _apply(
        self, daemon: HostDaemon, changes: list[HostChange], hosts: dict[int, dict[str, Host]], refused: Refusals
    ) -> None:
        before = {subnet_id: dict(hosts[subnet_id]) for subnet_id in {change.subnet_id for change in changes}}
        for change in changes:
            hosts[change.subnet_id].pop(change.key, None)
            if change.after is not None:
                hosts[change.subnet_id][change.key] = change.after
        try:
            if write_all(daemon, {subnet_id: hosts[subnet_id].values() for subnet_id in before}):
                self._send(daemon)
            return
        except ChannelError as error:
            hosts.update(before)
            write_all(daemon, {subnet_id: good.values() for subnet_id, good in before.items()})
            if isinstance(error, ChannelDown):
                raise
            self._send(daemon)
            if len(changes) == 1:
                refused[changes[0].scope, changes[0].key] = str(error)
                return
        middle = len(changes) // 2
        for half in (changes[:middle], changes[middle:]):
            self._apply(daemon, half, hosts, refused)

    def _send(self, daemon: HostDaemon) -> None:
        """Send the present files to Kea."""
        config = kea.load_config(kea.config_path(daemon.directories))
        kea.client(daemon.directories).set_config(config)


STRATEGY = KeaConfig()
