"""dnsmasq: the small loaders by TFTP, and nothing else (`port=0` switches its DNS off, there is no DHCP range).

dnsmasq always listens on port 69, so a rack whose TFTP port is another one (no privileges) does without it.
It does not read its configuration again on SIGHUP: a changed bundle means a restart, which is why the bundle holds
nothing that changes often.  `tftp-secure` is not set: it only serves files owned by dnsmasq's own user, and the loaders
belong to Debian's package `ipxe`.
"""

from __future__ import annotations

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.dhcp.boot import LOADERS
from renderers.intent import RackIntent
from renderers.services import kea6
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "dnsmasq"
FILE = "dnsmasq.conf"


def render(intent: RackIntent) -> Bundle:
    """One file, without secrets."""
    body = text.fill(
        "config/dnsmasq/dnsmasq.conf.j2",
        addresses=intent.rack_addresses,
        root=intent.layout.boot_files,
        pid_file=intent.layout.run_path(NAME, "dnsmasq.pid"),
    )
    return Bundle(NAME, (RenderedFile(FILE, body, 0o644),))


def _loader(address: str) -> str:
    """What a machine would read there: BIOS has no IPv6."""
    return kea6.LOADER if ":" in address else LOADERS["bios"]


SERVICE = ServiceSpec(
    name=NAME,
    title="TFTP (dnsmasq)",
    wanted=lambda intent: intent.ports.tftp == 69 and bool(intent.rack_addresses),
    render=render,
    command=("dnsmasq", "-k", f"--conf-file={{current}}/{FILE}"),
    checker=("dnsmasq", "--test", f"--conf-file={{staged}}/{FILE}"),
    user="dnsmasq",
    channel="dnsmasq",
    probes=lambda intent: tuple(
        ProbeSpec("tftp", (("server", address), ("port", intent.ports.tftp), ("file", _loader(address))))
        for address in intent.rack_addresses
    ),
    packages=("dnsmasq-base", "ipxe"),
    rival_units=("dnsmasq.service",),
)
