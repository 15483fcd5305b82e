"""Deploy: give a machine its address, install an image on its disk, and believe it only when the system calls home."""

from __future__ import annotations

from app.lifecycle.action import Action, ActionParameter, Step
from app.lifecycle.states import State
from app.lifecycle.steps import boot_from_network

ACTION = Action(
    name="deploy",
    title="Deploy",
    past="deployed",
    from_states=frozenset({State.READY, State.ALLOCATED, State.FAILED_DEPLOYMENT}),
    transient=State.DEPLOYING,
    success=State.DEPLOYED,
    failure=State.FAILED_DEPLOYMENT,
    aborted=State.ALLOCATED,
    parameters=(
        ActionParameter("image", "str", "", "Name of the image to install; empty for the default image."),
        ActionParameter("user_data", "str", "", "cloud-init user data for the first boot."),
    ),
    confirm="Everything on the machine's disk is overwritten.",
    steps=(
        Step(
            name="address",
            kind="address",
            title="Give an address",
            wait_seconds=60,
            failure="no address could be given; look at the region worker's log",
            parameters={},
        ),
        Step(
            name="records",
            kind="records",
            title="Wait until DHCP and DNS know it",
            wait_seconds=180,
            failure="the racks did not confirm the machine's DHCP and DNS records; check that they are up and in sync",
            parameters={},
        ),
        *boot_from_network("install", title="Wait for the installer"),
        Step(
            name="install",
            kind="signal",
            title="Install",
            wait_seconds=3600,
            failure="the installer did not finish; its last progress message says where it was",
            parameters={"signal": "install.finished"},
        ),
        Step(
            name="first-boot",
            kind="signal",
            title="Wait for the installed system to call home",
            wait_seconds=1200,
            failure="the installed system did not call home; look at its console: it may not boot or have no network",
            parameters={"signal": "phone-home"},
        ),
    ),
)
