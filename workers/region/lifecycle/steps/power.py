"""power: order the verbs in the step's parameters from the machine's rack, one after the other, and wait for each.

A machine without a BMC is a person's task: the timeline says what to do, and the operation goes on to wait for the
machine itself.  An order that fails is given again a few times; controllers are often busy for a moment.
"""

from __future__ import annotations

from app.services import power
from app.services.changes import event
from app.services.errors import ServiceError
from workers.region.lifecycle.result import Done, Failed, Result, Retry, Scene, StepKind, Waiting

TRIES = 3
PAUSE_SECONDS = 10.0
LOOK_SECONDS = 30.0
"""The rack's answer wakes the operation; this is for the worker that was killed when it had called an order lost."""
BY_HAND = {
    "off": "switch it off",
    "on": "switch it on",
    "cycle": "switch it off and on again",
    "pxe": "choose network boot at its next start",
    "netboot": "switch it off and on again, and have it boot from the network",
}


def run(scene: Scene) -> Result:
    """Take the answer to the last order, and give the next."""
    verbs: tuple[str, ...] = tuple(scene.step.parameters["verbs"])
    if not power.has_controller(scene.machine):
        return _by_hand(scene, verbs)
    position, tries = int(scene.memory.get("position", 0)), int(scene.memory.get("tries", 0))
    order_id = scene.memory.get("order")
    if order_id is not None:
        row = power.standing(scene.session, order_id)
        if row.status in ("waiting", "claimed"):
            return Waiting(LOOK_SECONDS, f"waiting for the rack to carry out power {row.verb}")
        if row.status == "done":
            position, tries = position + 1, 0
        else:
            tries += 1
            reason = f"power {row.verb} {row.status}: {row.reason or 'no reason was given'}"
            if tries >= TRIES:
                return Failed(f"{reason} (tried {TRIES} times)")
            scene.remember(tries=tries, order=None)
            return Retry(PAUSE_SECONDS, reason)
    if position >= len(verbs):
        return Done(f"power {' and '.join(verbs)}: done")
    try:
        order_id = power.order(scene.session, scene.context, scene.machine, verbs[position], scene.operation.id)
    except ServiceError as refusal:
        return Failed(refusal.detail)
    scene.remember(position=position, tries=tries, order=order_id)
    return Waiting(LOOK_SECONDS, f"power {verbs[position]} is ordered")


def _by_hand(scene: Scene, verbs: tuple[str, ...]) -> Result:
    words = ", then ".join(BY_HAND[verb] for verb in verbs)
    message = f"{scene.machine.hostname} has no BMC that Muster can reach: go to it and {words}."
    event(
        scene.session,
        scene.context,
        "machine.power",
        message,
        machine_id=scene.machine.id,
        level="warning",
        step=scene.step.name,
        state=scene.machine.state,
    )
    return Done(message)


STEP = StepKind("power", run)
