"""address: give the machine its static address, and put its DHCP and DNS records."""

from __future__ import annotations

from functools import partial

from app.services import addresses
from app.services.changes import when_numbered
from app.services.errors import ServiceError
from app.services.transition import keep
from workers.region.lifecycle.result import Done, Failed, Result, Scene, StepKind
from workers.region.lifecycle.steps import records


def run(scene: Scene) -> Result:
    """Claim; a second claim gives the same address. The number of its records is left to the step that waits for them."""
    try:
        address = addresses.claim(scene.session, scene.context, scene.machine)
    except ServiceError as refusal:
        return Failed(f"no address for {scene.machine.hostname}: {refusal.detail}")
    when_numbered(scene.session, partial(_leave, scene))
    return Done(f"it is given {address}", rest=True)


def _leave(scene: Scene, sequence: int) -> None:
    scene.remember(**{records.SEQUENCE: sequence})
    keep(scene.session, scene.operation)


STEP = StepKind("address", run)
