"""arm: allow one network boot for the purpose in the step's parameters."""

from __future__ import annotations

from app.services import boot_tokens
from workers.region.lifecycle.result import Done, Result, Scene, StepKind

LIFE_SECONDS = 2 * 86_400
"""Longer than any operation's deadlines together; the token dies with the state anyway."""


def run(scene: Scene) -> Result:
    """Write the armed token."""
    purpose = str(scene.step.parameters["purpose"])
    boot_tokens.arm(scene.session, scene.context, scene.machine.id, scene.operation.id, purpose, LIFE_SECONDS)
    return Done(f"the next network boot is for {purpose}")


STEP = StepKind("arm", run)
