"""Hosts of ISC dhcpd by OMAPI: made, changed and destroyed live, and written by dhcpd into its file of leases.

OMAPI lists nothing, so what is there, options included, is read from that file.  A host's name tells its subnet and MAC.  dhcpd keeps no
lease for a host, and gives a host its address also while a stranger holds a lease of it; so an address that somebody
else has leased from a dynamic range is refused here.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from renderers.dhcp import dhcpd_form
from renderers.dhcp.options import Option, of_bytes
from renderers.services import dhcpd
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.dhcpd_leases import HostEntry, LeaseFile, parse, render_host, render_host_end
from workers.rack.files import ServiceDirectories, change_owner, write_atomically
from workers.rack.host_strategies.base import HostDaemon, Refusals
from workers.rack.hosts import Host, HostChange, parse_key
from workers.rack.omapi import Omapi, OmapiDown, OmapiRefused, Values, number
from workers.rack.secret_files import SecretFiles, SecretMissing

ETHERNET, ACTIVE = 1, 2
"""Kinds of hardware and states of leases (dhcpd(8), "THE LEASE OBJECT")."""
MASK = 1
"""The option that says a network's mask."""
ALTERED = "altered"
"""The name of a host that somebody else has changed so that it cannot be read back."""
_PORT = re.compile(r"^omapi-port (\d+);", re.MULTILINE)
_NAME = re.compile(r"muster-(\d+)-([0-9a-f]{12})")


def name_of(key: str) -> str:
    """dhcpd's name of a host."""
    subnet_id, mac = parse_key(key)
    return f"muster-{subnet_id}-{mac.replace(':', '')}"


def read_file(daemon: HostDaemon) -> LeaseFile:
    """What dhcpd has written down."""
    try:
        return parse((daemon.directories.state / "dhcpd.leases").read_text(encoding="latin-1"))
    except FileNotFoundError:
        return LeaseFile({}, {})


def connect(directories: ServiceDirectories, secrets: SecretFiles) -> Omapi:
    """A connection to the daemon, not opened.  ChannelDown if nothing is known of it."""
    try:
        port = _PORT.search((directories.current / dhcpd.FILE).read_text())
        secret = secrets.read(dhcpd.SECRET)
    except (OSError, SecretMissing) as error:
        raise ChannelDown(f"dhcpd cannot be asked: {error}") from error
    if port is None:
        raise ChannelDown("dhcpd's configuration names no port of OMAPI")
    return Omapi(int(port[1]), dhcpd.KEY, secret)


def end_lease(directories: ServiceDirectories, secrets: SecretFiles, address: str, mac: str = "") -> dict[str, Any]:
    """End the lease of an address if it is this MAC's; whether there was one, and whose it is if it is another's.

    A lease that is told to have ended is freed and written down at once (dhcpd 4.4.3); its state can be set as well, but
    then a failure leaves the old end.  The end is the moment before now: one that is now is over a second later.
    """
    try:
        with connect(directories, secrets) as omapi:
            found = omapi.find("lease", {b"ip-address": ipaddress.IPv4Address(address).packed})
            if found is None or not _is_active(found[1]):
                return {"ended": False}
            holder = found[1].get(b"hardware-address", b"").hex(":")
            if mac and holder != mac:
                return {"ended": False, "holder": holder}
            omapi.update(found[0], {b"ends": number(int(time.time()) - 1)})
            after = omapi.find("lease", {b"ip-address": ipaddress.IPv4Address(address).packed})
    except (OmapiDown, OmapiRefused) as error:
        raise ChannelDown(str(error)) from error
    if after is not None and _is_active(after[1]):
        raise ChannelError(f"dhcpd was told to end the lease of {address} and still has it; see its log")
    return {"ended": True}


def _is_active(lease: Values) -> bool:
    return int.from_bytes(lease.get(b"state", b""), "big") == ACTIVE


class DhcpdOmapi:
    """OMAPI."""

    name = "omapi"
    services = frozenset({"dhcpd"})
    rank = 10

    def fits(self, daemon: HostDaemon) -> bool:
        """Always: it is dhcpd's only way."""
        return True

    def apply(self, daemon: HostDaemon, changes: Sequence[HostChange]) -> Refusals:
        """All that goes is taken out first; what changes its address is changed in its place."""
        refused: Refusals = {}
        try:
            with connect(daemon.directories, daemon.secrets) as omapi:
                for change in changes:
                    if change.after is None:
                        self._delete(omapi, change.key)
                for change in changes:
                    if change.after is not None:
                        self._set(omapi, change, refused)
        except OmapiDown as error:
            raise ChannelDown(str(error)) from error
        return refused

    def present(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> dict[int, dict[str, Host]]:
        """What is in its file, once dhcpd answers."""
        self._answers(daemon)
        return self._read(daemon, subnet_ids)

    def load(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> dict[str, str]:
        """Only what differs is sent."""
        here = self._read(daemon, wanted.keys())
        refused: dict[str, str] = {}
        try:
            with connect(daemon.directories, daemon.secrets) as omapi:
                for subnet_id, hosts in wanted.items():
                    right = {host.key: host for host in hosts}
                    for key, host in here[subnet_id].items():
                        if key not in right:
                            self._delete(omapi, host.key)
                    for key, host in right.items():
                        if here[subnet_id].get(key) != host:
                            try:
                                self._put(omapi, host)
                            except OmapiRefused as error:
                                refused[key] = str(error)
        except OmapiDown as error:
            raise ChannelDown(str(error)) from error
        return refused

    def prepare(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> None:
        """A running dhcpd is told; one that is not is given them in its file."""
        try:
            self.load(daemon, wanted)
            return
        except ChannelDown:
            pass
        path = daemon.directories.state / "dhcpd.leases"
        here = self._read(daemon, wanted.keys())
        text = path.read_text(encoding="latin-1") if path.exists() else ""
        for subnet_id, hosts in wanted.items():
            right = {host.key: host for host in hosts}
            text += "".join(render_host_end(name_of(key)) for key in here[subnet_id] if key not in right)
            text += "".join(
                render_host(_entry(host)) for key, host in right.items() if here[subnet_id].get(key) != host
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        change_owner(path.parent, dhcpd.USER)
        write_atomically(path, text.encode("latin-1"), mode=0o644, owner=dhcpd.USER)

    def settle(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> None:
        """Nothing to do: dhcpd has written its file."""

    def _set(self, omapi: Omapi, change: HostChange, refused: Refusals) -> None:
        host = change.after
        if host is None:
            return
        if unsayable := [words for option in host.options if (words := dhcpd_form.unsayable(option))]:
            refused[change.scope, change.key] = "; ".join(unsayable)
            return
        # Only addresses of dynamic ranges have a lease.
        lease = omapi.find("lease", {b"ip-address": ipaddress.IPv4Address(host.address).packed})
        if lease is not None and _is_active(lease[1]):
            holder = lease[1].get(b"hardware-address", b"").hex(":")
            if holder != host.mac:
                refused[change.scope, change.key] = (
                    f"{host.address} is leased to {holder}; another machine may hold it until its lease ends"
                )
                return
        try:
            self._put(omapi, host)
        except OmapiRefused as error:
            refused[change.scope, change.key] = str(error)

    def _put(self, omapi: Omapi, host: Host) -> None:
        self._delete(omapi, host.key)
        values = {
            b"name": name_of(host.key).encode(),
            b"hardware-address": bytes.fromhex(host.mac.replace(":", "")),
            b"hardware-type": number(ETHERNET),
            b"ip-address": ipaddress.IPv4Address(host.address).packed,
        }
        statements = [f'supersede host-name = "{host.hostname}";'] if host.hostname else []
        options = _sayable(host)
        statements += [*map(dhcpd_form.statement, options), *dhcpd_form.sent(_asked(options))]
        if statements:
            values[b"statements"] = "\n".join(statements).encode()
        omapi.create("host", values)

    def _delete(self, omapi: Omapi, key: str) -> None:
        found = omapi.find("host", {b"name": name_of(key).encode()})
        if found is not None:
            omapi.delete(found[0])

    def _answers(self, daemon: HostDaemon) -> None:
        try:
            with connect(daemon.directories, daemon.secrets) as omapi:
                omapi.prove()
        except (OmapiDown, OmapiRefused) as error:
            raise ChannelDown(str(error)) from error

    def _read(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> dict[int, dict[str, Host]]:
        found: dict[int, dict[str, Host]] = {subnet_id: {} for subnet_id in subnet_ids}
        for entry in read_file(daemon).hosts.values():
            match = _NAME.fullmatch(entry.name)
            if match and int(match[1]) in found:
                mac = bytes.fromhex(match[2]).hex(":")
                codes = [(dhcpd_form.code_of(name), data) for name, data in entry.options]
                options = tuple(
                    sorted((of_bytes(4, code, data) for code, data in codes if code), key=lambda one: one.code)
                )
                # A MAC or an option that we do not set: whatever the host should be, it differs.
                is_ours = entry.mac == mac and len(options) == len(codes)
                is_ours = is_ours and entry.asked == _asked(options)
                host = Host(int(match[1]), mac, entry.address, entry.hostname if is_ours else ALTERED, options)
                found[host.subnet_id][host.key] = host
        return found


def _sayable(host: Host) -> list[Option]:
    """The host's options but those that dhcpd could not keep, of which `apply` has told."""
    return [option for option in host.options if option.family == 4 and not dhcpd_form.unsayable(option)]


def _entry(host: Host) -> HostEntry:
    """A host as dhcpd writes it into its file."""
    options = _sayable(host)
    told = tuple((dhcpd_form.name_of(option), option.data) for option in options)
    return HostEntry(name_of(host.key), host.mac, host.address, host.hostname, told, _asked(options))


def _asked(options: Sequence[Option]) -> bytes:
    """What is sent also to a host that does not ask.

    With the mask, which is anyway: a byte that cannot be printed, as of a list that can dhcpd would write a quote (34) so
    that it could not read it again.
    """
    return bytes([*(option.code for option in options), MASK]) if options else b""


STRATEGY = DhcpdOmapi()
