"""Hosts as rows of the rack's hosts database: Kea answers from a row as soon as it is committed, at any number of hosts.

Whether Kea uses it is read from the configuration it runs, as `config-get` would show secrets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from renderers.services import hosts_db
from workers.rack import host_rows
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.channels.kea import KINDS
from workers.rack.files import ServiceDirectories
from workers.rack.host_strategies.base import HostDaemon, Refusals, Span
from workers.rack.hosts import Host, HostChange, parse_key
from workers.rack.secret_files import SecretMissing

_USED = re.compile(r'"hosts-databases?"\s*:')


class KeaDatabase:
    """Rows."""

    name = "hosts-database"
    services = frozenset({"kea4", "kea6"})
    rank = 20

    def fits(self, daemon: HostDaemon) -> bool:
        """Whether the running configuration names a hosts database."""
        try:
            return bool(_USED.search((daemon.directories.current / KINDS[daemon.service].config_file).read_text()))
        except OSError:
            return False

    def apply(self, daemon: HostDaemon, changes: Sequence[HostChange]) -> Refusals:
        """One transaction; if it is refused, halves until the culprits are found."""
        refused: Refusals = {}
        self._apply(daemon, changes, refused)
        return refused

    def present(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> dict[int, dict[str, Host]]:
        """The rows."""
        with self._connected(daemon) as cursor:
            return host_rows.read(cursor, daemon.family, subnet_ids)

    def present_in(self, daemon: HostDaemon, subnet_id: int, span: Span) -> dict[str, Host]:
        """Rows by index."""
        with self._connected(daemon) as cursor:
            return host_rows.read(cursor, daemon.family, [subnet_id], span.after, span.last)[subnet_id]

    def load(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> dict[str, str]:
        """Only what differs is written."""
        with self._connected(daemon) as cursor:
            host_rows.make_equal(cursor, daemon.family, wanted)
        return {}

    def prepare(self, daemon: HostDaemon, wanted: Mapping[int, Sequence[Host]]) -> None:
        """The rows are there if this rack has the database at all."""
        database = self._directories(daemon)
        if database.current.exists():
            self.load(daemon, wanted)

    def settle(self, daemon: HostDaemon, subnet_ids: Collection[int]) -> None:
        """Nothing to do: what is live is on the disk."""

    def _apply(self, daemon: HostDaemon, changes: Sequence[HostChange], refused: Refusals) -> None:
        try:
            with self._connected(daemon) as cursor:
                host_rows.delete(cursor, daemon.family, (parse_key(change.key) for change in changes))
                host_rows.insert(cursor, daemon.family, (change.after for change in changes if change.after))
        except ChannelDown:
            raise
        except ChannelError as error:
            if len(changes) == 1:
                refused[changes[0].scope, changes[0].key] = str(error)
                return
            middle = len(changes) // 2
            self._apply(daemon, changes[:middle], refused)
            self._apply(daemon, changes[middle:], refused)

    def _directories(self, daemon: HostDaemon) -> ServiceDirectories:
        return ServiceDirectories(daemon.directories.root, hosts_db.NAME)

    @contextmanager
    def _connected(self, daemon: HostDaemon) -> Iterator[Any]:
        try:
            password = daemon.secrets.read(hosts_db.SECRET)
            with daemon.line.transaction(self._directories(daemon).run, password) as cursor:
                yield cursor
        except (SecretMissing, host_rows.DatabaseDown) as error:
            raise ChannelDown(str(error)) from error
        except host_rows.DatabaseRefuses as error:
            raise ChannelError(str(error)) from error


STRATEGY = KeaDatabase()
