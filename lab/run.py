"""`make run`: the whole product on one host, before the user's eyes.

    python -m lab.run [--once]

Boot images (cached), the control plane on SQLite, a virtual rack with real daemons in namespaces, two virtual machines
with BMCs (BIOS and IPMI, UEFI and Redfish), and the walk of each from bare metal to a deployed server and back, side by
side where memory allows.  Then it stays until Ctrl-C; with --once it ends with exit code 0 only if every step of both was
verified from outside.  Whatever happens, nothing is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from lab import demo, leftovers, loopback
from lab.accelerator import Accelerator, choose_accelerator
from lab.capability import probe_capabilities
from lab.entered import EnteredWalk
from lab.machine import VirtualMachine
from lab.network import VirtualSite
from lab.standing import IMAGE, Lab, listen_locally, standing_lab
from lab.terminal import Terminal
from lab.walk import Walk
from lab.walks import WalkFailed, available_mib, needed_mib, walk_all

PORT = int(os.environ.get("MUSTER_PORT", "5240"))
STATE = Path(os.environ.get("MUSTER_LAB_STATE", "/var/lib/muster-lab"))
CACHE = Path(os.environ.get("MUSTER_CACHE", "/var/cache/muster"))
NEEDED_GIB = 8
MARK = ".muster-lab"
BIOS_MACHINE = {"name": "node1", "mac": "52:54:00:20:00:11", "bmc_address": "10.30.0.11"}
UEFI_MACHINE = {
    "name": "node2", "mac": "52:54:00:20:00:12", "bmc_address": "10.30.0.12", "bmc_protocol": "redfish",
    "firmware": "uefi", "disk_gib": 4,
}  # fmt: skip
MACHINES: tuple[tuple[type[Walk], dict[str, Any]], ...] = ((Walk, BIOS_MACHINE), (EnteredWalk, UEFI_MACHINE))
"""The machines of the lab, each with the walk it takes."""


class Refused(Exception):
    """One clear sentence why the lab cannot be shown here."""


def preflight() -> None:
    """Refuse early what would fail late: no root, no room."""
    if os.geteuid() != 0:
        raise Refused("the virtual rack makes network namespaces and runs DHCP, which takes root; run it as root")
    for place in (STATE, CACHE):
        existing = next(parent for parent in (place, *place.parents) if parent.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if free < NEEDED_GIB:
            raise Refused(
                f"{existing} has {free:.1f} GiB free and the lab needs {NEEDED_GIB}; make room or set MUSTER_LAB_STATE and MUSTER_CACHE"
            )


def build_images(terminal: Terminal) -> None:
    """Make sure that the boot images are in the cache."""
    with terminal.step("boot images") as proof:
        argv = [sys.executable, "-m", "workers.region.images", "build", "--cache", str(CACHE), "--progress"]
        if subprocess.run(argv, check=False, cwd=Path(__file__).resolve().parent.parent).returncode != 0:
            raise Refused("the boot images could not be built; the lines above say why")
        size = sum(file.stat().st_size for file in (CACHE / IMAGE).iterdir()) >> 20
        proof.append(f"{CACHE / IMAGE}, {size} MiB")


def show(once: bool, terminal: Terminal) -> None:
    """Everything, in order. Whatever was started is stopped when this returns or raises."""
    refusals = probe_capabilities()
    if refusals:
        loopback.show(terminal, STATE, PORT, refusals, once)
        return
    for link in listen_locally(PORT):  # A port that is taken is said before minutes are spent on images.
        link.close()
    build_images(terminal)
    aside = ThreadPoolExecutor(1)
    accelerator = aside.submit(choose_accelerator, CACHE / IMAGE / "vmlinuz")  # It may take its whole deadline.
    aside.shutdown(wait=False)
    with standing_lab(terminal, STATE, CACHE / IMAGE, PORT) as lab:
        chosen = accelerator.result()
        demo.set_kernel_options(lab.api, chosen.kernel_options)
        walks = plug_in(lab, terminal, chosen)
        side_by_side = available_mib() >= needed_mib(walks)
        if not side_by_side:
            terminal.note(
                f"one machine after the other: both at once need {needed_mib(walks)} MiB, {available_mib()} are free"
            )
        try:
            walk_all(walks, terminal, side_by_side)
        except WalkFailed:
            terminal.table()
            raise
        terminal.table()
        if not once:
            stay(terminal, lab.site, walks)


def plug_in(lab: Lab, terminal: Terminal, accelerator: Accelerator) -> list[Walk]:
    """Wire both machines, which are off, and describe their walks."""
    walks: list[Walk] = []
    for kind, words in MACHINES:
        name = str(words["name"])
        with terminal.beside(name).step("virtual machine") as proof:
            machine = VirtualMachine(lab.site, accelerator=accelerator, **words)
            lab.site.hold(machine)
            disk = machine.disk.size >> 30
            memory = machine.hardware.memory_mib
            proof.append(
                f"{machine.hardware.firmware.upper()}, {memory} MiB, {disk} GiB disk, {accelerator.words[1]},"
                f" {machine.bmc.protocol} BMC {machine.bmc.address}"
            )
        beside = terminal.beside(name)
        walks.append(kind(lab.api.twin(), beside, lab.outside, machine, lab.rack_address, demo.SUBNET, demo.DOMAIN))
    return walks


def stay(terminal: Terminal, site: VirtualSite, walks: Sequence[Walk]) -> None:
    """Keep everything up until Ctrl-C, and say how to play on."""
    first = walks[0]
    machines = "\n".join(
        f"    http://127.0.0.1:{PORT}/machines/{walk.machine_id}    {walk.machine.name}, live; its console:"
        f" tail -f {walk.machine.directory}/serial.log"
        for walk in walks
    )
    terminal.say(f"""
  The rack, the machines and the control plane stay up until Ctrl-C. To play on:
{machines}
    .venv/bin/muster --url http://127.0.0.1:{PORT} login admin         then: muster machine list, muster rack list
    .venv/bin/muster machine deploy {first.machine_id} --wait                    deploy one again
    ip netns exec {site.lan} ssh -i {first.outside.folder}/owner_key debian@ADDRESS
    ip netns exec {site.lan} dig @{first.rack_address} NAME.{first.domain}
""")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def main() -> int:
    """0 when all steps were verified, 1 when one was not (one clear sentence), 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description="Show Muster's main job on a virtual rack.")
    parser.add_argument("--once", action="store_true", help="end after the walk with its result")
    once = parser.parse_args().once
    terminal = Terminal()

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell in the background starts us with it ignored.
    try:
        preflight()
        fresh_state()
        show(once, terminal)
    except KeyboardInterrupt:
        terminal.say("muster: stopped; nothing is left behind")
        return 130
    except Exception as error:
        if os.environ.get("MUSTER_DEBUG"):
            raise
        terminal.say(f"muster: {error}")
        logs = [
            path for path in (STATE / "control", STATE / "rack" / "log", STATE / "site" / "machines") if path.exists()
        ]
        if logs:
            terminal.say(f"  logs: {', '.join(map(str, logs))}")
        return 1
    return 0


def fresh_state() -> None:
    """Begin from nothing, once what a killed run left has been cleaned; only a directory that a lab made is emptied."""
    if STATE.exists() and any(STATE.iterdir()) and not (STATE / MARK).exists():
        raise Refused(f"{STATE} holds files that no lab made; set MUSTER_LAB_STATE to a directory of its own")
    if (STATE / "site").exists():
        leftovers.clean(STATE / "site")
    if STATE.exists():
        shutil.rmtree(STATE)
    STATE.mkdir(parents=True, mode=0o755)  # Daemons that drop to users of their own pass through.
    (STATE / MARK).touch()


if __name__ == "__main__":
    raise SystemExit(main())
