"""A thousand DISCOVERs a second while a thousand hosts change: none is lost.

Real daemons in a namespace; the hosts change by the strategy's own way, a hundred in a batch, each batch checked as a
client.  Who asks are machines whose hosts stay as they are.

Before it, the same stream for as long while nothing changes: what is lost then, the host has lost, which runs the daemons,
the rack's worker and all who ask on the same processors.
"""

from __future__ import annotations

import time

from bench.discover_stream import DiscoverStream, Heard
from bench.figure import Bench, Figure
from bench.standing_hosts import stand
from tests.daemons.host_lab import HostLab, host_lab, mac_of

RATE, STANDING, CHANGES, BATCH, ASKING = 1000, 10_000, 1000, 100, 200
QUIET_SECONDS = 8.0
FIRST = 512
"""The first machine's number; its address follows from it."""


def run(strategy: str, standing: int = STANDING, changes: int = CHANGES, rate: int = RATE) -> tuple[Heard, Heard]:
    """A stream while nothing changes and one while hosts of a standing number of them do, by one strategy."""
    with host_lab(strategy) as lab:
        stand(lab, range(FIRST, FIRST + standing))
        macs = [mac_of(number) for number in range(FIRST, FIRST + ASKING)]
        with DiscoverStream(f"{lab.inside}-c", "end0", macs, rate) as quiet:
            time.sleep(QUIET_SECONDS)
        with DiscoverStream(f"{lab.inside}-c", "end0", macs, rate) as stream:
            change(lab, FIRST + ASKING, changes)
        return quiet.heard, stream.heard


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
    (quiet, live), (_, whole) = run("hosts-database"), run("config-set")
    host = f"nothing changed: {quiet.lost} of {quiet.sent} lost"
    return [
        Figure(
            "no_lost_discover: lost",
            live.lost,
            "",
            f"of {live.sent} at {live.rate:.0f} a second, {CHANGES} hosts changed; {host}",
            0,
        ),
        Figure(f"  asked a second, meant {RATE}", live.rate, "", f"{quiet.rate:.0f} before"),
        Figure(
            "  lost, of a thousand", 1000 * live.lost / live.sent, "", f"{1000 * quiet.lost / quiet.sent:.2g} before"
        ),
        Figure("  the latest answer", live.worst * 1000, "ms", f"{quiet.worst * 1000:.0f} ms before; {STANDING} hosts"),
        Figure(
            "  the stream itself was late", live.late * 1000, "ms", f"{quiet.late * 1000:.0f} ms before: the host's own"
        ),
        Figure(
            "  lost during config-set",
            whole.lost,
            "",
            f"of {whole.sent}, the same changes in {CHANGES // BATCH} config-sets",
        ),
    ]


BENCH = Bench("no_lost_discover", "DISCOVERs lost while hosts change", measure)
