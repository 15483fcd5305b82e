"""signal: wait for a report of the machine itself; its `failed` report ends the operation with the machine's words."""

from __future__ import annotations

from app.services.power import has_controller
from workers.region.lifecycle.result import Done, Failed, Result, Scene, StepKind, Waiting


def run(scene: Scene) -> Result:
    """Look at the operation's signals."""
    signals = scene.operation.signals
    wanted = str(scene.step.parameters["signal"])
    purpose = wanted.partition(".")[0]
    heard = signals.get(wanted)
    if heard is not None:
        return Done(str(heard.get("message") or ""))
    failed = signals.get(f"{purpose}.failed")
    if failed is not None:
        return Failed(f"the machine reports: {failed.get('message') or 'failed'}")
    if scene.step.parameters.get("by_hand") and not has_controller(scene.machine):
        return Waiting(
            None, f"{scene.machine.hostname} has no BMC: go to it, switch it on and boot it from the network"
        )
    return Waiting()


STEP = StepKind("signal", run)
