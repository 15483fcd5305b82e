"""records: wait until every rack concerned has applied the machine's DHCP and DNS records."""

from __future__ import annotations

from app.services import records
from workers.region.lifecycle.result import Done, Result, Scene, StepKind, Waiting

POLL_SECONDS = 1.0


def run(scene: Scene) -> Result:
    """Compare what the racks have reported with the newest record of the machine."""
    sequence = records.highest_for_machine(scene.session, scene.machine)
    if records.live(scene.session, sequence):
        return Done("DHCP and DNS know it")
    trouble = records.failure(scene.session, sequence)
    return Waiting(POLL_SECONDS, trouble or f"the racks have not yet applied record {sequence}")


STEP = StepKind("records", run)
