"""What one machine's lifecycle costs the control plane.

Everything of the control plane is real and runs in this process: the application over SQLite in a file, the services,
the bell on a broker of files, the region worker's runner.  `bench.played` plays the rack and the machine by their
protocols, without a network.  Only time inside the control plane counts, from the WSGI call on: every request that a
person, a rack or a machine makes, and every look of the region worker.  After each machine an Ironic beside it
takes one node through the same (`bench.ironic`), so that a slow or busy host changes both.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from bench.figure import Bench, Figure
from bench.ironic import Beside
from bench.played import Cost, Played

CACHE = Path(os.environ.get("MUSTER_CACHE", "/var/cache/muster"))
WARM_UP, MACHINES = 5, 100
EARLY, LATE = 10, 100
VERBS_LIMIT_MS, WHOLE_LIMIT_MS, RATIO_LIMIT = 20.0, 100.0, 1.1
RATIO, IRONIC_LIMIT = "lifecycle_cost.verbs, ratio to Ironic", 0.2
"""The promise where Ironic takes 100 ms: 20 ms. A machine of another speed changes both."""
CALLERS = (
    ("person", "three calls of the REST API"),
    ("worker", "every look of the region worker, waits included"),
    ("rack", "records, and five power orders claimed and answered"),
    ("machine", "two boots with scripts, results, installing, phone-home"),
)
VERBS = ("person", "worker")
"""What Ironic's figure comprises: the calls of its API and the steps of its conductor, with no hardware or agent."""
PEER = "OpenStack Ironic 39: manage + provide + active with fake hardware on one process, 100 ms"
WHOLE_PEER = "Ironic's 100 ms, which hold no rack's and no machine's requests; these do"


def measure() -> list[Figure]:
    """Walk the machines one after the other."""
    enlisting: list[Cost] = []
    walking: list[Cost] = []
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
        Beside(CACHE, Path(folder) / "ironic") as ironic,
        Played(Path(folder)) as played,
    ):
        for number in range(-WARM_UP, MACHINES):
            machine = played.machine(number + WARM_UP)
            enlist = played.meter(machine.enlist)
            walk = played.meter(machine.commission) + played.meter(machine.allocate) + played.meter(machine.deploy)
            ironic.walk(counts=number >= 0)
            if number >= 0:
                enlisting.append(enlist)
                walking.append(walk)
    early, late = walking[EARLY - 1].statements, walking[LATE - 1].statements
    verbs = statistics.median(sum(cost.wall_of[caller] for caller in VERBS) for cost in walking) * 1000
    verbs_cpu = statistics.mean(sum(cost.cpu_of[caller] for caller in VERBS) for cost in walking)
    wall = statistics.median(cost.wall for cost in walking) * 1000
    cpu = statistics.median(cost.cpu for cost in walking) * 1000
    enlist_wall = statistics.median(cost.wall for cost in enlisting) * 1000
    return [
        Figure("lifecycle_cost.verbs: API and steps, wall", verbs, "ms", PEER, VERBS_LIMIT_MS),
        Figure("lifecycle_cost.whole: and rack and machine", wall, "ms", WHOLE_PEER, WHOLE_LIMIT_MS),
        Figure("  the same, processor time", cpu, "ms", f"median of {MACHINES} machines"),
        *(
            Figure(f"    {caller}", statistics.median(cost.wall_of[caller] for cost in walking) * 1000, "ms", words)
            for caller, words in CALLERS
        ),
        Figure("  requests and looks of the worker", walking[-1].calls, "", "a machine"),
        Figure("  SQL statements, ratio", late / early, "", f"machine {LATE}: {late}, {EARLY}: {early}", RATIO_LIMIT),
        Figure("  SQL statements", late, "", "a machine"),
        Figure("enlist, wall", enlist_wall, "ms", "OpenStack Ironic 39: create a node, 12.4 ms"),
        *ironic.figures(RATIO, verbs / 1000, verbs_cpu, enlist_wall / 1000, IRONIC_LIMIT),
    ]


BENCH = Bench("lifecycle_cost", "What one machine's lifecycle costs the control plane", measure)
