"""Commission: boot the ephemeral image, learn what the machine is made of, make it READY."""

from __future__ import annotations

from app.lifecycle.action import Action, Step
from app.lifecycle.states import State

ACTION = Action(
    name="commission",
    title="Commission",
    past="commissioned",
    from_states=frozenset({State.NEW, State.READY, State.FAILED_COMMISSIONING, State.BROKEN}),
    transient=State.COMMISSIONING,
    success=State.READY,
    failure=State.FAILED_COMMISSIONING,
    steps=(
        Step(
            name="arm",
            kind="arm",
            title="Allow one network boot",
            wait_seconds=60,
            failure="the boot could not be prepared; look at the region worker's log",
            parameters={"purpose": "commission"},
        ),
        Step(
            name="power-on",
            kind="power",
            title="Start from the network",
            wait_seconds=420,
            failure="the rack did not carry out the power orders; check that the rack is up and its BMC is reachable",
            parameters={"verbs": ("pxe", "cycle")},
        ),
        Step(
            name="boot",
            kind="signal",
            title="Wait for the machine to boot",
            wait_seconds=900,
            failure="the machine did not boot from the network; look at its console and at the boot interface's cable",
            parameters={"signal": "commission.started", "by_hand": True},
        ),
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
        Step(
            name="power-off",
            kind="power",
            title="Switch off",
            wait_seconds=420,
            failure="the rack did not switch the machine off; check that the rack is up and its BMC is reachable",
            parameters={"verbs": ("off",)},
        ),
    ),
)
