"""What a new rack with many machines costs: a constant number of questions, and where the time goes.

The whole application over SQLite in a file.  At 10 machines and at 10,000 the region worker's intent of the rack is loaded
and rendered; then the rack, with its real record flow, store and client, reads everything as a snapshot.  No daemon runs
here: what a daemon takes for its hosts and names is in the daemons' own benchmarks.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from app.store.intent import load_intent
from bench.figure import Bench, Figure
from bench.no_op import Rack
from bench.scene import Scene, machines, scene
from renderers import registry

FEW, MANY = 10, int(os.environ.get("MUSTER_BENCH_MANY", "10000"))


def _look(ours: Scene, folder: Path) -> tuple[int, dict[str, float], int]:
    """The questions of one intent, the seconds of each stage of a new rack, and the records that it then holds."""
    folder.mkdir()
    seconds: dict[str, float] = {}
    with ours.statements() as seen, ours.context.store.read() as session:
        began = time.perf_counter()
        intent = load_intent(session, ours.rack_id)
        seconds["load"] = time.perf_counter() - began
        asked = len(seen)
    began = time.perf_counter()
    registry.render(intent)
    seconds["render"] = time.perf_counter() - began
    rack = Rack(ours, folder)
    answer = rack.wire._ask

    def timed(*words: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return answer(*words, **named)
        finally:
            seconds["answers"] = seconds.get("answers", 0.0) + time.perf_counter() - started

    rack.wire._ask = timed  # type: ignore[method-assign]
    began = time.perf_counter()
    rack.flow.take(rack.offer)
    seconds["keep"] = time.perf_counter() - began - seconds["answers"]
    seconds["calls"] = rack.wire.calls
    return asked, seconds, sum(len(rack.store.values(scope)) for scope in rack.offer.scopes)


def measure() -> list[Figure]:
    """A few, then many."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name, scene(Path(name)) as ours:
        with ours.context.store.write() as session:
            ours.prepare_rack(session)
        ours.finish(ours.call("POST", "/machines/bulk", {"machines": machines(ours.subnet_id, FEW)}).get_json()["id"])
        few, _, _ = _look(ours, Path(name) / "few")
        for first in range(FEW, MANY, 2000):
            some = machines(ours.subnet_id, min(2000, MANY - first), first)
            ours.finish(ours.call("POST", "/machines/bulk", {"machines": some}).get_json()["id"])
        many, seconds, records = _look(ours, Path(name) / "many")
    ratio = Figure("intent_load: statements, ratio", many / few, "", f"{FEW} machines: {few}, {MANY}: {many}", 1.0)
    stages = {
        "load": "the intent, from one snapshot",
        "render": "all services",
        "answers": f"{seconds['calls']:.0f} calls of the rack answered: the snapshot of its scopes",
        "keep": f"{records} records into the rack's own store, journal and digests included",
    }
    return [ratio, *(Figure(f"  {stage}", seconds[stage], "s", words) for stage, words in stages.items())]


BENCH = Bench("intent_load", "What a new rack with ten thousand machines costs", measure)
