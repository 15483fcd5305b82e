"""free: end the machine's boot tokens, and take its addresses and records away."""

from __future__ import annotations

from app.services import addresses
from app.services.transition import revoke
from workers.region.lifecycle.result import Done, Result, Scene, StepKind


def run(scene: Scene) -> Result:
    """Free; nothing happens when all is free already."""
    revoke(scene.session, scene.context, scene.machine.id)
    addresses.free(scene.session, scene.context, scene.machine)
    return Done("its addresses are free")


STEP = StepKind("free", run)
