"""A standing lab: control plane, virtual rack with its daemons, everything in sync; what `make run`, tests and benchmarks use.

with standing_lab(Terminal(), state, cache, port=0) as lab:
    lab.api.get("/racks")
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import demo
from lab.api import Api
from lab.control import ControlPlane, listen
from lab.network import VirtualSite
from lab.outside import Outside, make_owner_key
from lab.supervise import Supervisor, rack_programs
from lab.terminal import Terminal

IMAGE = "debian-12-amd64"


@dataclass
class Lab:
    """What stands. control and supervisor can be stopped and started again, as faults do."""

    site: VirtualSite
    control: ControlPlane
    api: Api
    rack: demo.Enrolled
    rack_root: Path
    supervisor: Supervisor
    outside: Outside

    @property
    def rack_address(self) -> str:
        """The rack's address towards machines."""
        return self.site.vlans[0].rack_address


def listen_locally(port: int) -> list[socket.socket]:
    """Sockets on 127.0.0.1 and, where the host has it, ::1; port 0 takes a free one. ControlPlaneFailed if it is taken."""
    first = listen("127.0.0.1", port)
    sockets = [first]
    if Path("/proc/net/if_inet6").exists():
        try:
            sockets.append(listen("::1", first.getsockname()[1]))
        except BaseException:
            first.close()
            raise
    return sockets


@contextlib.contextmanager
def standing_lab(
    terminal: Terminal,
    state: Path,
    image: Path,
    port: int = 0,
    plane: type[ControlPlane] = ControlPlane,
    network: demo.DemoNetwork = demo.BOTH,
) -> Iterator[Lab]:
    """Bring everything up; whatever was started is stopped at the end, also when a part of it fails."""
    with contextlib.ExitStack() as stack:
        sockets = listen_locally(port)
        port = sockets[0].getsockname()[1]
        for link in sockets:
            stack.callback(link.close)
        with terminal.step("virtual site") as proof:
            site = stack.enter_context(VirtualSite(state / "site", vlans=network.vlans, uplink=network.uplink))
            sockets.append(site.listen_in(site.control, site.uplink.control_address, port))
            proof.append(f"namespaces {site.control}, {site.rack}, {site.lan}")
        with terminal.step("control plane") as proof:
            control = stack.enter_context(plane(state / "control", sockets, f"http://127.0.0.1:{port}"))
            site.remember_process(control.pid)
            api = Api(control.url)
            api.sign_in("admin", str(control.password))
            proof.append(
                " and ".join(f"http://{bracketed(str(link.getsockname()[0]))}:{port}" for link in sockets[:-1])
                + ", SQLite"
            )
        terminal.note(f"sign in as admin, password {control.password} (shown once)")
        with terminal.step("desired state") as proof:
            demo.set_up_network(api, network)
            api.post("/images/import", {"path": str(image)})
            outside = Outside(tuple(site.exec_argv(site.lan)), state / "owner")
            demo.add_owner_key(api, make_owner_key(outside.folder))
            proof.append(f"{network.subnets[0].cidr} on VLAN 0, domain {demo.DOMAIN}, image {image.name}")
        with terminal.step("rack: enrol, render, push, probe") as proof:
            rack_root = state / "rack"
            url = f"http://{bracketed(site.uplink.control_address)}:{port}"
            rack = demo.enrol_rack(api, site, rack_root, url, sys.executable)
            demo.switch_dhcp_on(api)
            supervisor = Supervisor(site, rack_root, rack_programs("--root", str(rack_root)))
            stack.enter_context(supervisor)
            shown = demo.wait_in_sync(api, rack, network.services)
            proof.append("in sync: " + ", ".join(sorted(one["service"] for one in shown["services"])))
        yield Lab(site, control, api, rack, rack_root, supervisor, outside)


def bracketed(host: str) -> str:
    """An address as URLs write it."""
    return f"[{host}]" if ":" in host else host
