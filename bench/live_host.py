"""One reservation, from the API's answer to an OFFER with it on the rack's wire, with 100 and with 50,000 hosts there.

Everything on the way is ours and real: `muster run` (gunicorn and region worker, SQLite) commits and answers, the rack is
woken (by Redis and its doorbell, or by the long poll where the broker needs no server), its agent fetches over HTTP,
writes the hosts database and asks as a client; a client on the rack's wire asks Kea every 4 ms until it is offered the
address.  Control plane, rack and client share this host's processors.

Beside it, without the hops and so at their best: the same change by a whole `config-set`, and a restart of ISC dhcpd.
"""

from __future__ import annotations

import os
import random
import statistics
import time

from bench.figure import Bench, Figure
from bench.rack_site import RackSite, rack_site
from bench.standing_hosts import stand
from tests.daemons.host_lab import host_lab

FEW = 100
MANY = int(os.environ.get("MUSTER_BENCH_HOSTS", "50000"))
SAMPLES = int(os.environ.get("MUSTER_BENCH_SAMPLES", "60"))
SLOW_SAMPLES, FIRST, FRESH = 3, 512, 55_000
RATIO, P99_MS = 1.2, 100.0
STAGES = ("wake", "fetch", "daemon", "check", "report")


def sample(here: RackSite, numbers: range) -> list[float]:
    """Seconds of one change after the other, at moments that follow no beat."""
    beat = random.Random(1)
    taken = []
    for number in numbers:
        time.sleep(beat.uniform(0.0, 0.15))
        taken.append(here.reserve(number))
    return taken


def measure() -> list[Figure]:
    """Few hosts, then many, by one broker and then by the other; then the other ways."""
    blocks = [range(FRESH + number * SAMPLES, FRESH + (number + 1) * SAMPLES) for number in range(3)]
    with rack_site() as here:
        broker = "Redis" if here.redis else "files (no Redis here)"
        here.stand(FEW)
        sample(here, range(FRESH - 10, FRESH))
        few = sample(here, blocks[0])
        stood = here.stand(MANY - FEW)
        many = sample(here, blocks[1])
        stages = here.stages(SAMPLES)
        files: list[float] = []
        if here.redis:
            here.without_redis()
            sample(here, range(FRESH - 20, FRESH - 10))
            files = sample(here, blocks[2])
    figures = [
        Figure(
            f"live_host: {MANY} hosts, ratio to {FEW}",
            statistics.median(many) / statistics.median(few),
            "",
            f"medians {ms(few)} and {ms(many)} ms, {SAMPLES} changes each, broker {broker}",
            RATIO,
        ),
        Figure(f"live_host: p99 at {MANY}", p99(many), "ms", f"broker {broker}", P99_MS),
        Figure(f"  p99 at {FEW}", p99(few), "ms", f"broker {broker}"),
        *(
            Figure(f"  of the median, {name}", statistics.median(stages[name]) * 1000, "ms")
            for name in STAGES
            if name in stages
        ),
        Figure(f"  {MANY - FEW} hosts imported until the rack has them", stood, "s"),
    ]
    if files:
        figures.append(
            Figure(f"  p99 at {MANY}, broker of files", p99(files), "ms", f"median {ms(files)} ms, by the long poll")
        )
    return [*figures, *others()]


def others() -> list[Figure]:
    """A whole configuration and a restart, each from the rack's having the change to an OFFER."""
    found = []
    for strategy, samples in (("config-set", SLOW_SAMPLES), ("omapi", SLOW_SAMPLES)):
        with host_lab(strategy) as lab:
            stand(lab, range(FIRST, FIRST + MANY))
            taken = []
            for number in range(samples):
                begin = time.monotonic()
                if strategy == "omapi":
                    lab.restart()
                else:
                    lab.send([(2, f"10.20.0.{2 + number}")])
                lab.offered(FIRST if strategy == "omapi" else 2)
                taken.append(time.monotonic() - begin)
        words = "a restart of dhcpd" if strategy == "omapi" else "a whole config-set of Kea"
        found.append(Figure(f"  {words}", statistics.median(taken) * 1000, "ms", f"{MANY} hosts, without the hops"))
    return found


def ms(taken: list[float]) -> str:
    """The median, in milliseconds."""
    return f"{statistics.median(taken) * 1000:.1f}"


def p99(taken: list[float]) -> float:
    """The 99th percentile, in milliseconds."""
    return statistics.quantiles(taken, n=100, method="inclusive")[98] * 1000


BENCH = Bench("live_host", "One reservation, from the API's answer to an OFFER on the rack's wire", measure)
