"""A thousand DISCOVERs a second while a thousand hosts change: none is lost.

Real daemons in a namespace; the hosts change by the strategy's own way, a hundred in a batch, each batch checked as a
client.  Who asks are machines whose hosts stay as they are.
"""

from __future__ import annotations

from bench.discover_stream import DiscoverStream, Heard
from bench.figure import Bench, Figure
from bench.standing_hosts import stand
from tests.daemons.host_lab import HostLab, host_lab, mac_of

RATE, STANDING, CHANGES, BATCH, ASKING = 1000, 10_000, 1000, 100, 200
FIRST = 512
"""The first machine's number; its address follows from it."""


def run(strategy: str, standing: int = STANDING, changes: int = CHANGES, rate: int = RATE) -> Heard:
    """Change hosts of a standing number of them under a stream, by one strategy."""
    with host_lab(strategy) as lab:
        stand(lab, range(FIRST, FIRST + standing))
        macs = [mac_of(number) for number in range(FIRST, FIRST + ASKING)]
        with DiscoverStream(f"{lab.inside}-c", "end0", macs, rate) as stream:
            change(lab, FIRST + ASKING, changes)
        return stream.heard


def change(lab: HostLab, first: int, changes: int) -> None:
    """Move machines to addresses that nobody has, a batch at a time."""
    for begin in range(first, first + changes, BATCH):
        refused = lab.send(
            (number, f"10.20.{200 + (number >> 8) % 50}.{number & 255}") for number in range(begin, begin + BATCH)
        )
        if refused:
            raise RuntimeError(f"hosts were refused: {refused}")


def measure() -> list[Figure]:
    """The strategy that racks have by default, the last resort beside it."""
    live, whole = run("hosts-database"), run("config-set")
    return [
        Figure(
            "no_lost_discover: lost", live.lost, "", f"of {live.sent} at {RATE} a second, {CHANGES} hosts changed", 0
        ),
        Figure("  the latest answer", live.worst * 1000, "ms", f"{STANDING} hosts in the hosts database"),
        Figure(
            "  lost during config-set",
            whole.lost,
            "",
            f"of {whole.sent}, the same changes in {CHANGES // BATCH} config-sets",
        ),
    ]


BENCH = Bench("no_lost_discover", "DISCOVERs lost while hosts change", measure)
