"""Hosts as rows of Kea's own schema (Kea's `dhcpdb_create.pgsql`; the tables `hosts`, `ipv6_reservations` and
`dhcp4_options`, `dhcp6_options`, whose rows go with their host's).

psycopg2 is loaded when somebody connects: a rack without a hosts database does not need it.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from renderers.dhcp.options import Option, of_bytes
from renderers.services import hosts_db
from workers.rack.hosts import Host

CONNECT_SECONDS = 5
_HARDWARE_ADDRESS = 0
"""Kea's Host::IDENT_HWADDR."""
_HOST_SCOPE = 3
"""Kea's table dhcp_option_scope: an option of a host."""
_PAGE = 500


class DatabaseDown(Exception):
    """The hosts database does not answer, or broke off."""


class DatabaseRefuses(Exception):
    """The hosts database answers, and will not."""


class Line:
    """A connection to the hosts database that stays open between transactions.

    To open one costs several times what a change of a host does: both ends derive a key from the password (SCRAM, RFC
    5802), and the server starts a process that knows no table yet.  Threads may share it, and wait for each other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[Any, tuple[Path, str]] | None = None

    @contextmanager
    def transaction(self, directory: Path, password: str) -> Iterator[Any]:
        """A cursor in one transaction that is committed at the end.  DatabaseDown, DatabaseRefuses."""
        import psycopg2

        with self._lock:
            connection = self._connection(directory, password)
            try:
                with connection, connection.cursor() as cursor:
                    yield cursor
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self._drop()
                raise DatabaseDown(f"the hosts database broke off: {_words(error)}") from error
            except psycopg2.Error as error:
                raise DatabaseRefuses(f"the hosts database refuses: {_words(error)}") from error

    def close(self) -> None:
        """Let the connection go; the next transaction opens another."""
        with self._lock:
            self._drop()

    def _connection(self, directory: Path, password: str) -> Any:
        import psycopg2

        if self._kept is not None and self._kept[1] == (directory, password) and _lives(self._kept[0]):
            return self._kept[0]
        self._drop()
        try:
            opened = psycopg2.connect(
                host=str(directory),
                port=hosts_db.PORT,
                dbname=hosts_db.DATABASE,
                user=hosts_db.ROLE,
                password=password,
                connect_timeout=CONNECT_SECONDS,
            )
        except psycopg2.Error as error:
            raise DatabaseDown(f"the hosts database does not answer in {directory}: {_words(error)}") from error
        self._kept = opened, (directory, password)
        return opened

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept[0].close()
            self._kept = None


def _lives(connection: Any) -> bool:
    """Whether a connection that was kept still leads to a server; that may have been started anew since."""
    import psycopg2

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True


@contextmanager
def connected(directory: Path, password: str) -> Iterator[Any]:
    """`Line.transaction` on a connection of its own."""
    line = Line()
    try:
        with line.transaction(directory, password) as cursor:
            yield cursor
    finally:
        line.close()


def read(
    cursor: Any,
    family: int,
    subnet_ids: Collection[int] | None = None,
    after: str | None = None,
    last: str | None = None,
) -> dict[int, dict[str, Host]]:
    """The hosts of some subnets, or of all, by subnet and key; rows that are not ours under `row:<host_id>`.

    after, last: those only whose identifier comes after this MAC, and those only up to that one.
    """
    found: dict[int, dict[str, Host]] = {subnet_id: {} for subnet_id in subnet_ids or ()}
    column = _column(family)
    address = "h.ipv4_address" if family == 4 else "r.address"
    joined = "" if family == 4 else "LEFT JOIN ipv6_reservations r ON r.host_id = h.host_id"
    where, arguments = "IS NOT NULL", list[Any]()
    if subnet_ids is not None:
        # Kea's index is of subnets that are not 0, and PostgreSQL has to see that these are none.
        where, arguments = f"= ANY(%s) AND h.{column} <> 0", [list(subnet_ids)]
    for mac, bound in ((after, ">"), (last, "<=")):
        if mac is not None:
            where, arguments = f"{where} AND h.dhcp_identifier {bound} %s", [*arguments, _bytes(mac)]
    cursor.execute(
        f"SELECT o.host_id, o.code, o.value FROM dhcp{family}_options o JOIN hosts h ON h.host_id = o.host_id"  # noqa: S608
        f" WHERE h.{column} {where} ORDER BY o.code",
        arguments,
    )
    options: dict[int, tuple[Option, ...]] = {}
    for host_id, code, value in cursor:
        options[host_id] = (*options.get(host_id, ()), of_bytes(family, code, bytes(value or b"")))
    cursor.execute(
        f"SELECT h.host_id, h.dhcp_identifier, h.dhcp_identifier_type, h.{column}, {address}, h.hostname"  # noqa: S608
        f" FROM hosts h {joined} WHERE h.{column} {where} ORDER BY h.host_id",
        arguments,
    )
    for host_id, identifier, kind, subnet_id, number, hostname in cursor:
        mac = bytes(identifier).hex(":")
        host = Host(int(subnet_id), mac, _address(number), hostname or None, options.get(host_id, ()))
        ours = kind == _HARDWARE_ADDRESS and number is not None and len(bytes(identifier)) == 6
        mine = found.setdefault(host.subnet_id, {})
        mine[host.key if ours and host.key not in mine else f"row:{host_id}"] = host
    return found


def delete(cursor: Any, family: int, keys: Iterable[tuple[int, str]]) -> None:
    """Delete rows by subnet and MAC; what is not there is no error."""
    from psycopg2 import Binary
    from psycopg2.extras import execute_values

    rows = [(subnet_id, Binary(_bytes(mac))) for subnet_id, mac in keys]
    if rows:
        execute_values(
            cursor,
            f"DELETE FROM hosts h USING (VALUES %s) AS gone (subnet, mac) WHERE h.{_column(family)} = gone.subnet"  # noqa: S608
            f" AND h.dhcp_identifier = gone.mac AND h.dhcp_identifier_type = {_HARDWARE_ADDRESS}",
            rows,
            page_size=_PAGE,
        )


def delete_rows(cursor: Any, host_ids: Collection[int]) -> None:
    """Delete rows by their number."""
    cursor.execute("DELETE FROM hosts WHERE host_id = ANY(%s)", (list(host_ids),))


def insert(cursor: Any, family: int, hosts: Iterable[Host]) -> None:
    """Insert hosts; each must be absent."""
    from psycopg2 import Binary
    from psycopg2.extras import execute_values

    mine = list(hosts)
    if not mine:
        return
    address = [int(ipaddress.IPv4Address(host.address)) if family == 4 else None for host in mine]
    numbers = execute_values(
        cursor,
        f"INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, {_column(family)}, ipv4_address, hostname)"  # noqa: S608
        " VALUES %s RETURNING host_id",
        [
            (Binary(_bytes(host.mac)), _HARDWARE_ADDRESS, host.subnet_id, number, host.hostname)
            for host, number in zip(mine, address, strict=True)
        ],
        template="(%s, %s, %s, %s::bigint, %s)",
        page_size=_PAGE,
        fetch=True,
    )
    rows = [
        (option.code, Binary(option.data), f"dhcp{family}", True, number, _HOST_SCOPE)
        for host, (number,) in zip(mine, numbers, strict=True)
        for option in host.options
    ]
    if rows:
        execute_values(
            cursor,
            f"INSERT INTO dhcp{family}_options (code, value, space, persistent, host_id, scope_id) VALUES %s",  # noqa: S608
            rows,
            page_size=_PAGE,
        )
    if family == 6:
        execute_values(
            cursor,
            "INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) VALUES %s",
            [
                (str(ipaddress.IPv6Address(host.address)), 128, 0, number)
                for host, (number,) in zip(mine, numbers, strict=True)
            ],
            page_size=_PAGE,
        )


def make_equal(cursor: Any, family: int, wanted: Mapping[int, Iterable[Host]], others: bool = False) -> int:
    """See that subnets hold exactly these hosts; `others`: and that no other subnet holds any.  How many rows were touched."""
    present = read(cursor, family, None if others else wanted.keys())
    touched = 0
    for subnet_id in present.keys() | wanted.keys():
        here = present.get(subnet_id, {})
        right = {host.key: host for host in wanted.get(subnet_id, ())}
        strange = [int(key.removeprefix("row:")) for key in here if key.startswith("row:")]
        gone = [host for key, host in here.items() if not key.startswith("row:") and right.get(key) != host]
        new = [host for key, host in right.items() if here.get(key) != host]
        if strange:
            delete_rows(cursor, strange)
        delete(cursor, family, ((host.subnet_id, host.mac) for host in gone))
        insert(cursor, family, new)
        touched += len(strange) + len(gone) + len(new)
    return touched


def _column(family: int) -> str:
    return "dhcp4_subnet_id" if family == 4 else "dhcp6_subnet_id"


def _address(value: Any) -> str:
    if value is None:
        return ""
    return str(ipaddress.IPv4Address(value)) if isinstance(value, int) else str(ipaddress.ip_address(str(value)))


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _words(error: BaseException) -> str:
    """The first line: the rest repeats the statement."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
