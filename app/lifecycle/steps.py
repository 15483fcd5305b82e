"""Steps that several actions take in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.lifecycle.action import Step


def always(parameters: Mapping[str, Any]) -> bool:
    """Whatever was asked for."""
    return True


def boot_from_network(
    purpose: str,
    title: str = "Wait for the machine to boot",
    failure: str = "the machine did not boot from the network; look at its console and at the boot interface's cable",
    when: Callable[[Mapping[str, Any]], bool] = always,
) -> tuple[Step, ...]:
    """Allow one network boot for `purpose`, start the machine, and wait for it to say that it runs."""
    return (
        Step(
            name="arm",
            kind="arm",
            title="Allow one network boot",
            wait_seconds=60,
            failure="the boot could not be prepared; look at the region worker's log",
            parameters={"purpose": purpose},
            when=when,
        ),
        Step(
            name="power-on",
            kind="power",
            title="Start from the network",
            wait_seconds=420,
            failure="the rack did not carry out the power orders; check that the rack is up and its BMC is reachable",
            parameters={"verbs": ("netboot",)},
            when=when,
        ),
        Step(
            name="boot",
            kind="signal",
            title=title,
            wait_seconds=900,
            failure=failure,
            parameters={"signal": f"{purpose}.started", "by_hand": True},
            when=when,
        ),
    )


SWITCH_OFF = Step(
    name="power-off",
    kind="power",
    title="Switch off",
    wait_seconds=420,
    failure="the rack did not switch the machine off; check that the rack is up and its BMC is reachable",
    parameters={"verbs": ("off",)},
)
