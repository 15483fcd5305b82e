"""Kea's control socket, by a client of our own; the same for its two servers but for the names in `KINDS`.

One command is one JSON object on one connection; the answer ends when Kea closes (Kea ARM, "Management API").  Results:
0 success, 1 error, 2 unsupported, 3 empty.  `config-write` is never sent: it rewrites the rendered file.  A `config-set`
that fails leaves Kea deaf while it claims to be ready, and only a good `config-set` mends that, so every failure here
must be followed by sending the last good configuration.  `config-get` shows secrets and is not used.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.rack.channels.base import ChannelContext, ChannelDown, ChannelError, measured
from workers.rack.files import ServiceDirectories

LEASE_HOOK, HOST_HOOK = "libdhcp_lease_cmds.so", "libdhcp_host_cmds.so"
HOOK_FOLDERS = ("/usr/lib64", "/usr/lib", "/usr/local/lib")
SECONDS = 30.0
SUCCESS, ERROR, UNSUPPORTED, EMPTY = 0, 1, 2, 3
_INCLUDE = re.compile(r'<\?include\s+"([^"]+)"\s*\?>')


@dataclass(frozen=True)
class KeaKind:
    """One of Kea's servers: the family of its addresses, its files, and what it calls the same things."""

    family: int
    config_file: str
    socket_file: str

    @property
    def top(self) -> str:
        """The name that its configuration stands under."""
        return f"Dhcp{self.family}"

    @property
    def subnets(self) -> str:
        """The name of its list of subnets."""
        return f"subnet{self.family}"


KINDS = {
    "kea4": KeaKind(4, "kea-dhcp4.conf", "kea4-ctrl-socket"),
    "kea6": KeaKind(6, "kea-dhcp6.conf", "kea6-ctrl-socket"),
}
"""By service."""


class KeaClient:
    """Asks one Kea daemon.  ChannelDown if nobody listens, ChannelError if Kea says no."""

    def __init__(self, path: Path, seconds: float = SECONDS, family: int = 4) -> None:
        self._path = path
        self._seconds = seconds
        self._family = family

    def ask(self, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command; the arguments of the answer ({} for result 3, which means: nothing found)."""
        request: dict[str, Any] = {"command": command}
        if arguments is not None:
            request["arguments"] = arguments
        answer = self._exchange(json.dumps(request).encode())
        try:
            data = json.loads(answer)
            result, text = int(data["result"]), str(data.get("text", ""))
        except (KeyError, TypeError, ValueError) as error:
            raise ChannelError(f"kea {command}: the answer makes no sense: {answer[:200]!r}") from error
        if result in (SUCCESS, EMPTY):
            found = data.get("arguments") or {}
            return dict(found) if isinstance(found, dict) else {"list": found}
        kind = "does not know this command" if result == UNSUPPORTED else f"answers with result {result}"
        raise ChannelError(f"kea {command}: it {kind}: {text[:500]}")

    def commands(self) -> frozenset[str]:
        """What this Kea understands: hooks and versions differ."""
        return frozenset(str(name) for name in self.ask("list-commands").get("list", []))

    def packets_received(self) -> int:
        """How many DHCP packets Kea has seen since it started."""
        name = f"pkt{self._family}-received"
        samples = self.ask("statistic-get", {"name": name}).get(name, [[0]])
        return int(samples[0][0])

    def status(self) -> dict[str, Any]:
        """Uptime and the like; it says nothing about whether Kea answers clients."""
        return self.ask("status-get")

    def leases(self) -> list[dict[str, Any]]:
        """All leases, if the lease_cmds hook is loaded; reclaimed ones too (state 2)."""
        command = f"lease{self._family}-get-all"
        if command not in self.commands():
            return []
        return [dict(item) for item in self.ask(command).get("leases", [])]

    def pages_leases(self) -> bool:
        """Whether it was started with the lease commands that answer in pages."""
        return f"lease{self._family}-get-page" in self.commands()

    def lease_pages(self, limit: int) -> Iterator[list[dict[str, Any]]]:
        """All leases in the order of addresses, at most so many at once, so that clients are answered in between.

        Reclaimed ones too (state 2).  It needs the lease_cmds hook.
        """
        after = "start"
        while True:
            answer = self.ask(f"lease{self._family}-get-page", {"from": after, "limit": limit})
            leases = [dict(item) for item in answer.get("leases", [])]
            yield leases
            if len(leases) < limit:
                return
            after = str(leases[-1]["ip-address"])

    def ends_leases(self) -> bool:
        """Whether it was started with the lease commands."""
        return {f"lease{self._family}-get", f"lease{self._family}-del"} <= self.commands()

    def lease(self, address: str) -> dict[str, Any]:
        """The lease of an address, {} if there is none.  It needs the lease_cmds hook."""
        return self.ask(f"lease{self._family}-get", self._one(address))

    def end_lease(self, address: str) -> None:
        """Forget the lease of an address; nothing happens if there is none.  It needs the lease_cmds hook."""
        self.ask(f"lease{self._family}-del", self._one(address))

    def _one(self, address: str) -> dict[str, Any]:
        return {"ip-address": address} if self._family == 4 else {"type": "IA_NA", "ip-address": address}

    def set_config(self, config: dict[str, Any]) -> None:
        """Replace the running configuration."""
        self.ask("config-set", config)

    def _exchange(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._seconds)
            try:
                connection.connect(str(self._path))
                connection.sendall(request)
                parts = []
                while part := connection.recv(65536):
                    parts.append(part)
            except OSError as error:
                raise ChannelDown(f"kea does not answer on {self._path}: {error}") from error
        return b"".join(parts)


def hook(name: str) -> str:
    """Path of one of this host's Kea libraries, empty if there is none: Debian's place, then other builds'."""
    folders = (f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}", *HOOK_FOLDERS)
    paths = (Path(folder, "kea", "hooks", name) for folder in folders)
    return next((str(path) for path in paths if path.is_file()), "")


def client(directories: ServiceDirectories) -> KeaClient:
    """The client of the daemon of one service."""
    kind = KINDS[directories.service]
    return KeaClient(directories.run / kind.socket_file, family=kind.family)


def config_path(directories: ServiceDirectories) -> Path:
    """The present configuration of the daemon of one service."""
    return directories.current / KINDS[directories.service].config_file


def load_config(path: Path) -> dict[str, Any]:
    """The configuration as Kea would read it, included files merged in.  ChannelError if it is not JSON."""

    def included(match: re.Match[str]) -> str:
        return Path(match.group(1)).read_text()

    try:
        data = json.loads(_INCLUDE.sub(included, path.read_text()))
    except (OSError, ValueError) as error:
        raise ChannelError(f"{path}: cannot be sent to kea: {error}") from error
    if not isinstance(data, dict):
        raise ChannelError(f"{path}: is no JSON object")
    return data


def structure(directories: ServiceDirectories) -> dict[str, Any]:
    """The present configuration of a daemon, below its top name, without its hosts, which may be many.

    ChannelError if the file cannot be read so.
    """
    path = config_path(directories)
    try:
        return dict(json.loads(_INCLUDE.sub("", path.read_text()))[KINDS[directories.service].top])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ChannelError(f"{path}: cannot be read: {error!r}") from error


def server_duid(directories: ServiceDirectories) -> bytes:
    """The DUID under which our DHCPv6 server answers.  ChannelError if its configuration does not say."""
    try:
        said = structure(directories)["server-id"]
        return (2).to_bytes(2) + int(said["enterprise-id"]).to_bytes(4) + bytes.fromhex(said["identifier"])
    except (KeyError, TypeError, ValueError) as error:
        raise ChannelError(f"{config_path(directories)}: it names no server of type EN: {error!r}") from error


def pools(directories: ServiceDirectories) -> dict[int, list[tuple[int, int]]]:
    """First and last address, as numbers, of the dynamic ranges of each subnet.  ChannelError if they cannot be read."""
    name = KINDS[directories.service].subnets
    try:
        return _pools(structure(directories), name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ChannelError(f"{config_path(directories)}: its ranges cannot be read: {error!r}") from error


def _pools(top: dict[str, Any], name: str) -> dict[int, list[tuple[int, int]]]:
    subnets = [*top[name], *(subnet for network in top["shared-networks"] for subnet in network[name])]
    found: dict[int, list[tuple[int, int]]] = {}
    for subnet in subnets:
        ends = ([int(ipaddress.ip_address(end.strip())) for end in pool["pool"].split("-")] for pool in subnet["pools"])
        found[int(subnet["id"])] = [(first, last) for first, last in ends]
    return found


def include_paths(text: str) -> tuple[Path, ...]:
    """The files that a configuration includes."""
    return tuple(Path(name) for name in _INCLUDE.findall(text))


class KeaChannel:
    """One `config-set`; the daemon keeps its process and its leases."""

    name = "kea"

    def activate(self, context: ChannelContext) -> float:
        """Send the present files.  A process that does not answer is restarted into them."""
        config = load_config(config_path(context.directories))
        try:
            return measured(lambda: client(context.directories).set_config(config))
        except ChannelDown:
            return measured(lambda: context.units.restart(context.service))


CHANNEL = KeaChannel()
