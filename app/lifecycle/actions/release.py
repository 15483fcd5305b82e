"""Release: take a machine back, erase its disks if asked, free its addresses, and leave it switched off and READY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.lifecycle.action import Action, ActionParameter, Step
from app.lifecycle.states import State
from app.lifecycle.steps import SWITCH_OFF, boot_from_network


def _erases(parameters: Mapping[str, Any]) -> bool:
    return parameters.get("erase") != "none"


ACTION = Action(
    name="release",
    title="Release",
    past="released",
    from_states=frozenset({State.ALLOCATED, State.DEPLOYED, State.FAILED_DEPLOYMENT, State.FAILED_RELEASING}),
    instant_from=frozenset({State.ALLOCATED}),
    transient=State.RELEASING,
    success=State.READY,
    failure=State.FAILED_RELEASING,
    aborted=State.FAILED_RELEASING,
    parameters=(
        ActionParameter(
            "erase",
            "str",
            "quick",
            "quick: signatures and the ends of each disk; full: every block; none: leave the data there.",
            ("quick", "full", "none"),
        ),
    ),
    confirm="The machine is taken from its owner, and its disks are erased unless erase is none.",
    steps=(
        *boot_from_network(
            "erase",
            failure="the machine did not boot from the network, so nothing was erased; look at its console",
            when=_erases,
        ),
        Step(
            name="erase",
            kind="signal",
            title="Erase the disks",
            wait_seconds=86_400,
            failure="erasing did not finish within a day; its last progress message says where it was",
            parameters={"signal": "erase.finished"},
            when=_erases,
        ),
        SWITCH_OFF,
        Step(
            name="free",
            kind="free",
            title="Free its addresses",
            wait_seconds=60,
            failure="the addresses could not be freed; look at the region worker's log",
            parameters={},
        ),
    ),
)
