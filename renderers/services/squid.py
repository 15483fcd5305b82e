"""squid: the only way by which machines reach the control plane, and their proxy for packages.

Accelerator (`machine_http`): three path trees of the control plane, nothing else.  Images are kept on disk, everything
else passes uncached.  The header X-Muster-Rack proves to the control plane that this rack passed the request on, and
X-Forwarded-For holds exactly the machine's address: whatever the machine sent under these names is dropped first.
Authorization is passed on (`login=PASSTHRU`; squid drops it otherwise).
Forward proxy (`proxy`), where the rack is one: only for served networks that are managed and may use it, only to web
ports, and never to the rack itself, its loopback, link-local addresses or the control plane, which machines could
otherwise reach with the rack's own address.  With a parent proxy everything goes there and nothing directly, and names
are the parent's to look up.  Where the rack is no proxy, it does not listen at that port.
A control plane behind https is asked by TLS, and its certificate is checked: by squid with OpenSSL, as Debian's `squid` with
GnuTLS asks whoever answers.
Logs never hold headers or query strings.  The file holds a secret, so it is readable by root and squid only.
"""

from __future__ import annotations

import ipaddress
import re

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "squid"
FILE = "squid.conf"
RACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def render(intent: RackIntent) -> Bundle:
    """One file. ValueError if the rack's name could break out of the header that carries it."""
    if not RACK_NAME.fullmatch(intent.rack_name):
        raise ValueError(
            f"rack {intent.rack_name!r}: name only letters, digits and ._- may be in it, at most 63; rename it"
        )
    body = text.fill(
        "config/squid/squid.conf.j2",
        intent=intent,
        control_is_address=_is_address(intent.control_plane_host),
        dns_address=next(iter(intent.rack_addresses), None) if intent.ports.dns == 53 else None,
        state=intent.layout.state_path(NAME),
        run=intent.layout.run_path(NAME),
    )
    return Bundle(NAME, (RenderedFile(FILE, body, 0o640, "proxy"),))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _probes(intent: RackIntent) -> tuple[ProbeSpec, ...]:
    """A request through each port that is open, at the first address; any answer but 403 proves the accelerator."""
    server = next(iter(intent.rack_addresses))
    http = ProbeSpec("http", (("server", server), ("port", intent.ports.machine_http), ("path", "/boot/v1/start.ipxe")))
    proxy = ProbeSpec("proxy", (("server", server), ("port", intent.ports.proxy)))
    return (http, proxy) if intent.proxy.here else (http,)


SERVICE = ServiceSpec(
    name=NAME,
    title="HTTP for machines and package proxy (squid)",
    wanted=lambda intent: bool(intent.rack_addresses),
    render=render,
    prepare=("squid", "-N", "-z", "-f", f"{{current}}/{FILE}"),
    command=("squid", "-N", "-f", f"{{current}}/{FILE}"),
    checker=("squid", "-k", "parse", "-f", f"{{staged}}/{FILE}"),
    user="proxy",
    channel="squid",
    probes=_probes,
    packages=("squid-openssl",),
    rival_units=("squid.service",),
)
