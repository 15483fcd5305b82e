"""Ten thousand machines listed by the API over PostgreSQL, beside a bare `json_agg` over the same columns.

Every machine has two interfaces, an address, a BMC and two tags.  The API's pages are at most 500 machines, so all of them
are the sum over the pages, each a whole request (token, filters, entity tag); the bare way is one statement over joined
groups, fetched as one text by the driver; also once a page.  All are run in turn, and their medians are compared.

What is compared is processor time, of this process and of the database's backends together (/proc/PID/schedstat): on a
host with nothing else to do that is the time that passes, as one waits for the other; on a busy one it does not count
the others.  Seconds and milliseconds that passed stand beside it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from app.store.models import Bmc, Domain, Interface, IpAddress, Machine, Pool, Tag, Zone, machine_tag
from bench.figure import Bench, Figure
from bench.postgres import PostgresMissing, running_cluster
from bench.scene import Scene, scene

MACHINES = int(os.environ.get("MUSTER_BENCH_LISTED", "10000"))
LARGEST, PAGE, TAGS = 500, 100, 20
TURNS, PAGE_TURNS = 7, 40
RATIO, LIMIT = "list_machines: ratio to a bare json_agg", 1.5
PAGE_LIMIT_MS, SAME_LIMIT_MS = 10, 5

BARE = """
SELECT json_agg(r)::text FROM (
  SELECT m.id, m.hostname, m.hostname || '.' || d.name AS fqdn, m.domain_id, m.state, m.state_reason, m.state_since,
    m.power_state, m.power_checked_at, m.architecture, m.firmware, m.system_uuid, u.name AS owner, z.name AS zone,
    p.name AS pool, m.cpu_count, m.memory_mib, m.storage_bytes, b.driver AS power_driver, m.version, m.created_at,
    coalesce(t.tags, '[]') AS tags, coalesce(i.interfaces, '[]') AS interfaces, coalesce(i.addresses, '[]') AS addresses
  FROM (SELECT * FROM machine WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) m
  JOIN domain d ON d.id = m.domain_id JOIN zone z ON z.id = m.zone_id JOIN pool p ON p.id = m.pool_id
  LEFT JOIN "user" u ON u.id = m.owner_id LEFT JOIN bmc b ON b.machine_id = m.id
  LEFT JOIN {lateral} (
    SELECT x.machine_id, json_agg(t.name) AS tags FROM machine_tag x JOIN tag t ON t.id = x.tag_id
    {tags} GROUP BY x.machine_id
  ) t ON t.machine_id = m.id
  LEFT JOIN {lateral} (
    SELECT i.machine_id, json_agg(a.list) FILTER (WHERE a.list IS NOT NULL) AS addresses,
      json_agg(json_build_object('id', i.id, 'name', i.name, 'mac', i.mac, 'boot', i.boot, 'link', i.link,
        'speed_mbps', i.speed_mbps, 'driver', i.driver, 'vlan_id', i.vlan_id, 'subnet_id', i.subnet_id,
        'addresses', coalesce(a.list, '[]'))) AS interfaces
    FROM interface i LEFT JOIN {lateral} (
      SELECT interface_id, json_agg(address) AS list FROM ip_address {addresses} GROUP BY interface_id
    ) a ON a.interface_id = i.id
    {interfaces} GROUP BY i.machine_id
  ) i ON i.machine_id = m.id
  ORDER BY m.id
) r
"""
WHOLE = BARE.format(lateral="", tags="", addresses="", interfaces="")
FEW = BARE.format(
    lateral="LATERAL",
    tags="WHERE x.machine_id = m.id",
    addresses="WHERE interface_id = i.id",
    interfaces="WHERE i.machine_id = m.id",
)
"""The same for a page, where joining groups of whole tables would be a detour."""


def measure() -> list[Figure]:
    """All of them, a page, an unchanged page; and how many statements that takes."""
    try:
        with (
            running_cluster() as cluster,
            tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
            scene(Path(folder), cluster.new_database()) as ours,
        ):
            _fill(ours)
            return _compare(ours)
    except PostgresMissing as error:
        return [Figure(RATIO, float("inf"), "", str(error), LIMIT)]


@dataclass(frozen=True)
class Spent:
    """Medians of one way, in seconds: of the processors, and as time passed."""

    processors: float
    passed: float

    def __str__(self) -> str:
        return f"{self.processors:.3g} s of processors, {self.passed:.3g} s passed"


def _compare(ours: Scene) -> list[Figure]:
    connection = ours.context.store.engine.raw_connection()
    try:
        cursor = connection.cursor()

        def bare(statement: str, after: int, limit: int) -> int:
            cursor.execute(statement, {"after": after, "limit": limit})
            row = cursor.fetchone()
            assert row is not None
            return len(row[0])

        middle = MACHINES // 2
        path = f"/machines?limit={PAGE}&after={middle}"
        tag = ours.call("GET", path).headers["ETag"]
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        backends = [int(row[0]) for row in cursor.fetchall()]
        whole, at_once, paged = _in_turn(
            TURNS,
            backends,
            lambda: _walk(ours),
            lambda: bare(WHOLE, 0, MACHINES),
            lambda: sum(bare(FEW, after, LARGEST) for after in range(0, MACHINES, LARGEST)),
        )
        page, same, bare_page = _in_turn(
            PAGE_TURNS,
            backends,
            lambda: ours.call("GET", path),
            lambda: _unchanged(ours, path, tag),
            lambda: bare(FEW, middle, PAGE),
        )
    finally:
        connection.close()
    counts = {limit: _statements(ours, limit) for limit in (10, LARGEST)}
    listed = f"{MACHINES} machines in pages of {LARGEST}: {whole}"
    return [
        Figure(RATIO, whole.processors / at_once.processors, "", f"{listed}; at once: {at_once}", LIMIT),
        Figure("  ratio to json_agg over the same pages", whole.processors / paged.processors, "", str(paged), LIMIT),
        _milliseconds(f"  a page of {PAGE}", page, bare_page, PAGE_LIMIT_MS),
        _milliseconds(f"  the same, unchanged (304 by ETag, page of {PAGE})", same, bare_page, SAME_LIMIT_MS),
        Figure(
            f"  statements for {LARGEST} more than for 10", counts[LARGEST] - counts[10], "", f"{counts[10]} for 10", 0
        ),
    ]


def _milliseconds(name: str, spent: Spent, bare: Spent, limit: float) -> Figure:
    beside = (
        f"{spent.passed * 1000:.3g} ms passed; json_agg {bare.processors * 1000:.3g}, {bare.passed * 1000:.3g} passed"
    )
    return Figure(name, spent.processors * 1000, "ms", beside, limit)


def _processors(backends: list[int]) -> float:
    """Seconds that this process and the backends have had a processor."""
    theirs = [int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in backends]
    return time.process_time() + sum(theirs) / 1e9


def _in_turn(turns: int, backends: list[int], *ways: Callable[[], Any]) -> list[Spent]:
    """What each way costs, taken in turn after each was done once unmeasured."""
    seen: list[list[tuple[float, float]]] = [[] for _ in ways]
    for turn in range(turns + 1):
        for way, spent in zip(ways, seen, strict=True):
            began, before = time.perf_counter(), _processors(backends)
            way()
            if turn:
                spent.append((_processors(backends) - before, time.perf_counter() - began))
    return [Spent(*(statistics.median(column) for column in zip(*spent, strict=True))) for spent in seen]


def _walk(ours: Scene) -> int:
    """All pages; how many machines they held."""
    after: int | None = 0
    pages = 0
    while after is not None:
        text = ours.call("GET", f"/machines?limit={LARGEST}&after={after}").data
        following = text.rstrip(b"}\n").rpartition(b":")[2]
        after = None if following == b"null" else int(following)
        pages += text.startswith(b'{"items":[{')
    assert pages * LARGEST == MACHINES, pages
    return pages


def _unchanged(ours: Scene, path: str, tag: str) -> None:
    answer = ours.call("GET", path, If_None_Match=tag)
    assert answer.status_code == 304, answer.status_code


def _statements(ours: Scene, limit: int) -> int:
    with ours.statements() as seen:
        ours.call("GET", f"/machines?limit={limit}")
    return len(seen)


def _fill(ours: Scene) -> None:
    """The machines, straight into the tables, and the planner told of them."""
    with ours.context.store.write() as session:
        now = ours.context.clock()
        places = {
            f"{model.__tablename__}_id": session.scalars(select(model.id)).first() for model in (Domain, Zone, Pool)
        }
        common: dict[str, Any] = {
            **places,
            "state_since": now,
            "created_at": now,
            "ssh_host_keys": [],
            "state": "READY",
        }
        numbers = range(1, MACHINES + 1)
        sizes = {"cpu_count": 32, "memory_mib": 131_072, "storage_bytes": 2 * 10**12, "firmware": "uefi"}
        rows: list[tuple[Any, list[dict[str, Any]]]] = [
            (Machine, [{"id": number, "hostname": f"m{number}", **common, **sizes} for number in numbers]),
            (Bmc, [{"machine_id": number, "driver": "redfish", "parameters": {}} for number in numbers]),
            (Tag, [{"id": number, "name": f"tag-{number}"} for number in range(1, TAGS + 1)]),
            (
                machine_tag,
                [{"machine_id": n, "tag_id": 1 + (n + more) % TAGS} for n in numbers for more in (0, TAGS // 3)],
            ),
            (Interface, [_interface(ours, 2 * number + which) for number in numbers for which in (0, 1)]),
            (IpAddress, [_address(ours, number) for number in numbers]),
        ]
        for table, values in rows:
            session.execute(insert(table), values)
    connection = ours.context.store.engine.raw_connection()
    try:
        connection.cursor().execute("ANALYZE")
        connection.commit()
    finally:
        connection.close()


def _interface(ours: Scene, number: int) -> dict[str, Any]:
    mac = f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    places = {"vlan_id": ours.vlan_id, "subnet_id": ours.subnet_id}
    name = {"name": f"eth{number % 2}", "boot": number % 2 == 0, "link": True, "speed_mbps": 25_000, "driver": "ice"}
    return {"id": number, "machine_id": number // 2, "mac": mac, **places, **name}


def _address(ours: Scene, number: int) -> dict[str, Any]:
    text, key = f"10.64.{number >> 8}.{number & 255}", f"{(10 << 24) + (64 << 16) + number:032x}"
    return {"subnet_id": ours.subnet_id, "address": text, "address_key": key, "interface_id": 2 * number}


BENCH = Bench("list_machines", "Ten thousand machines listed, beside a bare json_agg on PostgreSQL", measure)
