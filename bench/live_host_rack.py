"""One host, from the moment the rack has its record to an OFFER with it, with 100 and with 50,000 hosts.

The rack's half of the way: the store, the daemon, the check as a client.  Real daemons in a namespace.
"""

from __future__ import annotations

import statistics
import time

from bench.figure import Bench, Figure
from bench.standing_hosts import stand
from tests.daemons.host_lab import host_lab

FEW, MANY, SAMPLES, SLOW_SAMPLES = 100, 50_000, 60, 5
FIRST = 512
RATIO_LIMIT, P99_LIMIT_MS = 1.2, 100.0


def run(strategy: str, standing: int, samples: int) -> list[float]:
    """Seconds of each of some changes beside a standing number of hosts."""
    with host_lab(strategy) as lab:
        stand(lab, range(FIRST, FIRST + standing))
        taken = []
        for number in range(samples):
            begin = time.monotonic()
            refused = lab.send([(2, f"10.20.0.{2 + number % 90}")])
            offered = lab.offered(2).address
            taken.append(time.monotonic() - begin)
            if refused or offered != f"10.20.0.{2 + number % 90}":
                raise RuntimeError(f"{strategy}: {refused or offered}")
        return taken


def measure() -> list[Figure]:
    """The default strategy few and many, the others beside it."""
    few, many = run("hosts-database", FEW, SAMPLES), run("hosts-database", MANY, SAMPLES)
    omapi, whole = run("omapi", MANY, SAMPLES), run("config-set", MANY, SLOW_SAMPLES)
    ratio = statistics.median(many) / statistics.median(few)
    p99 = statistics.quantiles(many, n=100)[98] * 1000
    return [
        Figure("live_host_rack: 50,000 hosts, ratio to 100", ratio, "", f"{SAMPLES} changes each", RATIO_LIMIT),
        Figure("live_host_rack: p99 at 50,000", p99, "ms", "from record to OFFER, asked for twice", P99_LIMIT_MS),
        *(
            Figure(f"  median, {words}", statistics.median(taken) * 1000, "ms", f"{number} hosts")
            for words, taken, number in (
                ("hosts database", few, FEW),
                ("hosts database", many, MANY),
                ("OMAPI", omapi, MANY),
                ("config-set", whole, MANY),
            )
        ),
    ]


BENCH = Bench("live_host_rack", "One host, from the rack's having it to an OFFER", measure)
