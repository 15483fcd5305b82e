"""records: wait until every rack concerned has applied the machine's DHCP and DNS records."""

from __future__ import annotations

from app.services import records
from workers.region.lifecycle.result import Done, Result, Scene, StepKind, Waiting

POLL_SECONDS = 1.0
SEQUENCE = "sequence"


def run(scene: Scene) -> Result:
    """Compare what the racks have reported with the number that the step before has left, or the machine's newest."""
    sequence = scene.memory.get(SEQUENCE) or records.highest_for_machine(scene.session, scene.machine)
    found = records.standing(scene.session, sequence)
    if found.live:
        return Done("DHCP and DNS know it")
    return Waiting(POLL_SECONDS, found.failure or f"the racks have not yet applied record {sequence}")


STEP = StepKind("records", run)
