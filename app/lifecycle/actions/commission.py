"""Commission: boot the ephemeral image, learn what the machine is made of, make it READY."""

from __future__ import annotations

from app.lifecycle.action import Action, Step
from app.lifecycle.states import State
from app.lifecycle.steps import SWITCH_OFF, boot_from_network

ACTION = Action(
    name="commission",
    title="Commission",
    past="commissioned",
    from_states=frozenset({State.NEW, State.READY, State.FAILED_COMMISSIONING, State.BROKEN}),
    transient=State.COMMISSIONING,
    success=State.READY,
    failure=State.FAILED_COMMISSIONING,
    steps=(
        *boot_from_network("commission"),
        Step(
            name="scripts",
            kind="signal",
            title="Run the commissioning scripts",
            wait_seconds=1800,
            failure="the commissioning scripts did not finish; the results say which one was last",
            parameters={"signal": "commission.finished"},
        ),
        Step(
            name="inventory",
            kind="inventory",
            title="Read the inventory",
            wait_seconds=60,
            failure="the results could not be read; look at the region worker's log",
            parameters={},
        ),
        SWITCH_OFF,
    ),
)
