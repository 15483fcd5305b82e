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
from bench.ironic import Beside, Promise
from bench.played import Cost, Played

CACHE = Path(os.environ.get("MUSTER_CACHE", "/var/cache/muster"))
WARM_UP, MACHINES = 5, 100
EARLY, LATE = 10, 100
RATIO_LIMIT = 1.1
VERBS_LIMIT, WHOLE_LIMIT = 0.2, 1.0
"""Parts of Ironic's time. Where it takes 100 ms, as on the host where the promise was made, these are 20 and 100 ms."""
CALLERS = (
    ("person", "three calls of the REST API"),
    ("worker", "every look of the region worker, waits included"),
    ("rack", "records, and five power orders claimed and answered"),
    ("machine", "two boots with scripts, results, installing, phone-home"),
)
VERBS = ("person", "worker")
"""What Ironic's figure comprises: the calls of its API and the steps of its conductor, with no hardware or agent."""
VERBS_WORDS = "API and every look of the worker; 20 ms where Ironic takes 100: hosts differ from day to day"
WHOLE_WORDS = "and all requests of racks and machines, which Ironic's time has none of"


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
        *ironic.promises(
            Promise("lifecycle_cost.verbs, ratio to Ironic", verbs / 1000, VERBS_LIMIT, VERBS_WORDS),
            Promise("lifecycle_cost.whole, ratio to Ironic", wall / 1000, WHOLE_LIMIT, WHOLE_WORDS),
        ),
        Figure("  verbs, wall", verbs, "ms", f"median of {MACHINES} machines"),
        Figure("  whole, wall", wall, "ms", "the same"),
        Figure("  whole, processor time", cpu, "ms", "the same"),
        *(
            Figure(f"    {caller}", statistics.median(cost.wall_of[caller] for cost in walking) * 1000, "ms", words)
            for caller, words in CALLERS
        ),
        Figure("  requests and looks of the worker", walking[-1].calls, "", "a machine"),
        Figure("  SQL statements, ratio", late / early, "", f"machine {LATE}: {late}, {EARLY}: {early}", RATIO_LIMIT),
        Figure("  SQL statements", late, "", "a machine"),
        Figure("enlist, wall", enlist_wall, "ms", "a boot, its script, the agent and its report"),
        *ironic.figures(verbs_cpu, enlist_wall / 1000),
    ]


BENCH = Bench("lifecycle_cost", "What one machine's lifecycle costs the control plane", measure)
