"""address: give the machine its static address, and put its DHCP and DNS records."""

from __future__ import annotations

from app.services import addresses
from app.services.errors import ServiceError
from workers.region.lifecycle.result import Done, Failed, Result, Scene, StepKind


def run(scene: Scene) -> Result:
    """Claim; a second claim gives the same address."""
    try:
        row = addresses.claim(scene.session, scene.context, scene.machine)
    except ServiceError as refusal:
        return Failed(f"no address for {scene.machine.hostname}: {refusal.detail}")
    return Done(f"it is given {row.address}")


STEP = StepKind("address", run)
