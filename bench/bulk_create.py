"""A thousand machines with two interfaces and an address each, made in one request of the API.

The whole application over SQLite in a file; the region worker's look is a thread of this process, and no rack is there.
The time goes from the request to the answer that says that the job has ended.  Before and after it, an Ironic beside it
makes nodes one after the other (it has no request for many, and threads gain it nothing), without ports or addresses.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import func, select

from app.store.models import RecordChange
from bench.figure import Bench, Figure
from bench.ironic import Beside
from bench.scene import Scene, machines, scene

CACHE = Path(os.environ.get("MUSTER_CACHE", "/var/cache/muster"))
MACHINES = int(os.environ.get("MUSTER_BENCH_MACHINES", "1000"))
NODES, WARM_UP = 60, 10
RATIO, LIMIT = "bulk_create: ratio to Ironic", 0.1


def measure() -> list[Figure]:
    """Ironic, ours, Ironic again."""
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
        Beside(CACHE, Path(folder) / "ironic") as ironic,
        scene(Path(folder)) as ours,
    ):
        ours.finish(
            ours.call("POST", "/machines/bulk", {"machines": machines(ours.subnet_id, WARM_UP, 100_000)}).get_json()[
                "id"
            ]
        )
        ironic.create(WARM_UP)
        nodes = ironic.create(NODES)
        before = _records(ours)
        began = time.perf_counter()
        job = ours.call("POST", "/machines/bulk", {"machines": machines(ours.subnet_id, MACHINES)}).get_json()
        asked = time.perf_counter() - began
        job = ours.finish(job["id"])
        taken = time.perf_counter() - began
        records = _records(ours) - before
        nodes += ironic.create(NODES)
        why = ironic.missing
    assert (job["done"], job["failed"]) == (MACHINES, 0), job
    its = statistics.mean(nodes) * MACHINES if nodes else 0.0
    beside = (
        f"Ironic 39, one by one: {its:.3g} s (mean of {len(nodes)} nodes)" if nodes else f"Ironic is missing: {why}"
    )
    return [
        Figure(RATIO, taken / its if its else float("inf"), "", beside, LIMIT),
        Figure(
            "  ours",
            taken,
            "s",
            f"{MACHINES} machines, {2 * MACHINES} interfaces, {MACHINES} addresses, {records} records",
        ),
        Figure("  of that, the request", asked, "s", "answered 202 with the job"),
    ]


def _records(ours: Scene) -> int:
    with ours.context.store.read() as session:
        return session.scalar(select(func.count()).select_from(RecordChange)) or 0


BENCH = Bench("bulk_create", "A thousand machines in one request, beside Ironic", measure)
