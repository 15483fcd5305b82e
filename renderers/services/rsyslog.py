"""rsyslog: takes what machines log, by UDP and TCP (RFC 3164, RFC 5424, RFC 6587), and spools it for the control plane.

It listens at the rack's addresses in managed subnets, and hears only machines of those subnets: a stranger's datagram is
thrown away, a stranger's connection closed (`$AllowedSender`).  Every line is written to the spool as an object of JSON in
a line of its own, which the rack's own software reads and brings to the control plane (`workers.rack.sensors.syslog`); so
nothing is lost while the control plane is away, and machines need no way to it.  The spool is a ring of two files: when
one has `SPOOL_BYTES` the older one is replaced by it (rsyslog's omfile, `rotation.sizeLimit`).

The daemon binds its ports as root and then becomes `USER`; Debian's package has no user of its own for it.
The identifier of a file's first line names the file, as rotating does not change it.
"""

from __future__ import annotations

import ipaddress

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "rsyslog"
FILE, ROTATE, SPOOL = "rsyslog.conf", "rotate", "lines"
"""SPOOL: relative to the state directory; the older file has `.1` after it."""
USER = "daemon"
LINE_BYTES = 4096
"""What is longer is cut; RFC 5424, section 6.1, asks for 2048 at least."""
SPOOL_BYTES = 64 * 1024 * 1024
QUEUE_LINES = 20_000
"""Lines in memory between the network and the spool."""
SESSIONS = 10_000
"""TCP connections at once; every machine holds one."""


def addresses(intent: RackIntent) -> tuple[str, ...]:
    """The rack's own addresses in managed subnets, each once, IPv4 first."""
    found = dict.fromkeys(one.rack_address for one in intent.subnets if one.managed and one.rack_address is not None)
    return tuple(sorted(found, key=lambda address: ":" in address))


def networks(intent: RackIntent) -> tuple[str, ...]:
    """Whom it hears: the networks of machines, each once, IPv4 first, then own addresses that lie in none of them.

    The rack's probe sends from the address where it listens, which is another VLAN's where a relay agent leads there.
    """
    found = dict.fromkeys(subnet.cidr for subnet in intent.subnets if subnet.managed)
    known = [ipaddress.ip_network(cidr) for cidr in found]
    own = [one for one in map(ipaddress.ip_address, addresses(intent)) if not any(one in cidr for cidr in known)]
    return (*sorted(found, key=lambda cidr: ":" in cidr), *(f"{one}/{one.max_prefixlen}" for one in own))


def render(intent: RackIntent) -> Bundle:
    """The configuration, and the program that turns the ring. Neither has secrets."""
    spool = intent.layout.state_path(NAME, SPOOL)
    body = text.fill(
        "config/rsyslog/rsyslog.conf.j2",
        addresses=addresses(intent),
        networks=networks(intent),
        port=intent.ports.syslog,
        state=intent.layout.state_path(NAME),
        spool=spool,
        rotate=intent.layout.config_path(NAME, ROTATE),
        user=USER,
        line_bytes=LINE_BYTES,
        spool_bytes=SPOOL_BYTES,
        queue_lines=QUEUE_LINES,
        sessions=SESSIONS,
    )
    turn = text.fill("config/rsyslog/rotate.j2", spool=spool)
    return Bundle(NAME, (RenderedFile(ROTATE, turn, 0o755), RenderedFile(FILE, body, 0o644)))


SERVICE = ServiceSpec(
    name=NAME,
    title="Syslog (rsyslog)",
    wanted=lambda intent: bool(addresses(intent)),
    render=render,
    command=("rsyslogd", "-n", "-i", "NONE", "-f", f"{{current}}/{FILE}"),
    checker=("rsyslogd", "-N1", "-f", f"{{staged}}/{FILE}"),
    user=USER,
    channel="rsyslog",
    probes=lambda intent: tuple(
        ProbeSpec(
            "syslog",
            (("server", address), ("port", intent.ports.syslog), ("spool", intent.layout.state_path(NAME, SPOOL))),
        )
        for address in addresses(intent)
    ),
    packages=("rsyslog",),
)
