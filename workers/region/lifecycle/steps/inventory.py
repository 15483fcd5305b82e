"""inventory: make the scripts' results the machine's inventory; a script that failed fails the operation."""

from __future__ import annotations

from app.services import commissioning
from workers.region.lifecycle.result import Done, Failed, Result, Scene, StepKind


def run(scene: Scene) -> Result:
    """Merge."""
    reason = commissioning.merge(scene.session, scene.context, scene.machine, scene.operation)
    if reason is not None:
        return Failed(reason)
    machine = scene.machine
    gigabytes = machine.storage_bytes / 1000**3
    return Done(f"{machine.cpu_count} processors, {machine.memory_mib} MiB of memory, {gigabytes:.1f} GB of storage")


STEP = StepKind("inventory", run)
