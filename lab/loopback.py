"""Where namespaces are refused: the control plane still starts, with a rack on loopback and high ports.

Such a rack can serve names (BIND on a high port).  DHCP, TFTP and machines need a network of their own, so they cannot be
shown, and the lab says so.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import demo
from lab.api import Api
from lab.control import ControlPlane
from lab.standing import listen_locally
from lab.supervise import Supervisor, rack_programs
from lab.terminal import Terminal

PORTS = {
    "dns": 5353,
    "rndc": 1953,
    "dhcp4": 1067,
    "dhcp6": 1547,
    "tftp": 1069,
    "ntp": 1123,
    "machine_http": 15248,
    "proxy": 13128,
    "syslog": 1514,
}
NOT_SHOWN = "DHCP, TFTP, PXE and a virtual machine cannot be shown without network namespaces"


def show(terminal: Terminal, state: Path, port: int, refusals: Sequence[str], once: bool) -> None:
    """The control plane and a rack that serves names on 127.0.0.1; with `once`, ends when the rack is in sync."""
    for refusal in refusals:
        terminal.say(f"  ! {refusal}")
    terminal.say(f"  ! {NOT_SHOWN}; the control plane and a rack on loopback are.")
    with contextlib.ExitStack() as stack:
        sockets = listen_locally(port)
        for link in sockets:
            stack.callback(link.close)
        with terminal.step("control plane") as proof:
            control = stack.enter_context(ControlPlane(state / "control", sockets, f"http://127.0.0.1:{port}"))
            api = Api(control.url)
            api.sign_in("admin", str(control.password))
            proof.append(control.url)
        terminal.note(f"sign in as admin, password {control.password} (shown once)")
        with terminal.step("rack on loopback") as proof:
            api.post("/domains", {"name": demo.DOMAIN})
            root = state / "rack"
            ports = [word for name, number in PORTS.items() for word in ("--port", f"{name}={number}")]
            rack = demo.enrol_rack(api, None, root, control.url, sys.executable, ("--no-hosts-database", *ports))
            stack.enter_context(Supervisor(None, root, rack_programs("--root", str(root))))
            demo.wait_in_sync(api, rack, ("bind",))
            proof.append(f"BIND serves {demo.DOMAIN} at 127.0.0.1 port {PORTS['dns']}")
        terminal.table()
        if once:
            raise NotShown(f"{NOT_SHOWN}, so the main job was not walked")
        terminal.say(f"\n  {control.url} stays up until Ctrl-C.")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


class NotShown(Exception):
    """The main job could not be shown here; says what is missing."""
