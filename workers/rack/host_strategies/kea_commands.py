"""Hosts by Kea's own commands (Kea 3 ships `libdhcp_host_cmds`; Kea ARM, "The host_cmds hook"), in its memory.

Kea does not write them down, so the files it starts from are written after each batch by `settle`, at most every few
seconds; a Kea that was started anew in between is made right by the agent, which compares after every start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from renderers.dhcp import kea_options
from workers.rack.channels import kea
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.host_strategies.base import HostDaemon, Refusals
from workers.rack.host_strategies.kea_config import write_all
from workers.rack.hosts import Host, HostChange, parse_key

COMMANDS = frozenset({"reservation-add", "reservation-del", "reservation-get-all"})
MEMORY = {"operation-target": "memory"}


class KeaCommands:
    """`reservation-add` and `reservation-del`."""

    name = "host-commands"
    services = frozenset({"kea4", "kea6"})
    rank = 10

    def fits(self, daemon: HostDaemon) -> bool:
        """Whether Kea lists the commands, and keeps no hosts database beside its memory."""
        return kea.client(daemon.directories).commands() >= COMMANDS

    def apply(self, daemon: HostDaemon, changes: Sequence[HostChange]) -> Refusals:
        """All that goes or moves is taken out first, so that addresses may be handed on inside a batch."""
        refused: Refusals = {}
        client = kea.client(daemon.directories)
        for change in changes:
            if change.before is not None or change.after is None:
                self._delete(client, change.key)
        for change in changes:
            if change.after is None:
                continue
            try:
                if change.before is None:
                    # A batch that broke off may be here already.
                    self._delete(client, change.key)
                self._add(client, change.after)
            except ChannelDown:
                raise
            except ChannelError as error:
                refused[change.scope, change.key] = str(error)
                if change.before is not None:
                    self._add(client, change.before)
        return refused

    def present(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> dict[int, dict[str, Host]]:
        """What is in Kea's memory."""
        client = kea.client(daemon.directories)
        return {subnet_id: self._read(client, subnet_id) for subnet_id in subnet_ids}

    def load(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> dict[str, str]:
        """Only what differs is sent."""
        client = kea.client(daemon.directories)
        refused: dict[str, str] = {}
        for subnet_id, hosts in wanted.items():
            here, right = self._read(client, subnet_id), {host.key: host for host in hosts}
            for key, host in here.items():
                if right.get(key) != host:
                    self._delete(client, host.key)
            for key, host in right.items():
                if here.get(key) != host:
                    try:
                        self._add(client, host)
                    except ChannelDown:
                        raise
                    except ChannelError as error:
                        refused[key] = str(error)
        write_all(daemon, wanted)
        return refused

    def prepare(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> None:
        """The files, which the last resort writes as well."""
        write_all(daemon, wanted)

    def settle(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> None:
        """The files hold what is stored, as the memory does."""
        write_all(daemon, {subnet_id: list(daemon.stored(subnet_id)) for subnet_id in subnet_ids})

    def _add(self, client: kea.KeaClient, host: Host) -> None:
        client.ask("reservation-add", {"reservation": {"subnet-id": host.subnet_id, **host.as_kea()}, **MEMORY})

    def _delete(self, client: kea.KeaClient, key: str) -> None:
        subnet_id, mac = parse_key(key)
        which = {"subnet-id": subnet_id, "identifier-type": "hw-address", "identifier": mac}
        client.ask("reservation-del", {**which, **MEMORY})

    def _read(self, client: kea.KeaClient, subnet_id: int) -> dict[str, Host]:
        try:
            answer = client.ask("reservation-get-all", {"subnet-id": subnet_id, **MEMORY})
        except ChannelDown:
            raise
        except ChannelError:
            # A subnet that Kea does not serve (yet) has no hosts.
            return {}
        found: dict[str, Host] = {}
        for entry in answer.get("hosts", ()):
            address = entry.get("ip-address") or next(iter(entry.get("ip-addresses") or ()), "")
            mac = str(entry.get("hw-address", "")).lower()
            hostname = entry.get("hostname") or None
            try:
                options = kea_options.read(entry.get("option-data", ()), 6 if ":" in str(address) else 4)
            except (KeyError, ValueError):
                # Not as we write them: whatever the host should be, it differs.
                options, hostname = (), "altered"
            host = Host(subnet_id, mac, str(address), hostname, options)
            found[host.key] = host
        return found


STRATEGY = KeaCommands()
