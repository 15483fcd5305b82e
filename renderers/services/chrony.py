"""chrony: time for the machines.

With no upstream in reach the rack's own clock still serves, at stratum 10: machines of one rack that agree with each
other can be logged into, certificates and all.  Racks are each other's peers, and `orphan` has them agree on one
clock when none of them reaches a server (chrony.conf(5)).  chronyc talks over a unix socket only (`cmdport 0`).  The socket has a
directory of its own, because chronyd refuses one that others may enter and makes it itself as it wants it.

On the control plane's host it is the clock of all racks: below their stratum, so that they prefer it to themselves, and at
all of the host's addresses, as racks come from networks that it does not serve.
"""

from __future__ import annotations

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "chrony"
FILE = "chrony.conf"
SOCKET = "command/chronyd.sock"
"""Where chronyc finds the daemon, relative to the run directory."""


def render(intent: RackIntent) -> Bundle:
    """One file, without secrets."""
    # chronyd binds one address of each family, or all; `allow` holds either way.
    bound = () if intent.on_control_plane else intent.rack_addresses
    four = [item for item in bound if ":" not in item]
    six = [item for item in bound if ":" in item]
    body = text.fill(
        "config/chrony/chrony.conf.j2",
        intent=intent,
        bind=[*(four if len(four) == 1 else []), *(six if len(six) == 1 else [])],
        known=tuple(dict.fromkeys((*intent.ntp_peers, *intent.ntp_clients, *_outside(intent)))),
        state=intent.layout.state_path(NAME),
        socket=intent.layout.run_path(NAME, SOCKET),
        pid_file=intent.layout.run_path(NAME, "chronyd.pid"),
    )
    return Bundle(NAME, (RenderedFile(FILE, body, 0o644),))


def _outside(intent: RackIntent) -> tuple[str, ...]:
    """Own addresses in no subnet that it serves: there the control plane's host answers racks, and its own probe."""
    if not intent.on_control_plane:
        return ()
    return tuple(address for address in intent.dns_addresses if address not in intent.rack_addresses)


SERVICE = ServiceSpec(
    name=NAME,
    title="Time (chrony)",
    wanted=lambda intent: bool(intent.rack_addresses or _outside(intent)),
    render=render,
    command=("chronyd", "-d", "-u", "_chrony", "-f", f"{{current}}/{FILE}"),
    arguments=lambda intent: () if intent.disciplines_clock else ("-x",),
    checker=("chronyd", "-p", "-f", f"{{staged}}/{FILE}"),
    user="_chrony",
    channel="chrony",
    probes=lambda intent: tuple(
        ProbeSpec("ntp", (("server", address), ("port", intent.ports.ntp)))
        for address in (*intent.rack_addresses, *_outside(intent))
    ),
    packages=("chrony",),
)
