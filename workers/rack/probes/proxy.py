"""A request to the package proxy for the rack's own port: squid must answer, and must refuse.

The refusal is what a machine would get that tries to reach the rack through its proxy, so one question proves that the
proxy works and that its guard stands, without leaving the host.
"""

from __future__ import annotations

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text
from workers.rack.probes.http import get


class ProxyProbe:
    """Parameters: server, port."""

    kind = "proxy"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """That the guarded address is refused."""
        server, port = text(spec, "server"), number(spec, "port")
        host = f"[{server}]" if ":" in server else server
        status, _ = get(server, port, f"http://{host}:{port}/")
        if status != 403:
            raise ProbeFailure(f"the proxy at {server}:{port} answers {status} for its own address, 403 is right")
        return f"the proxy at {server}:{port} answers and keeps machines from the rack itself"


PROBE = ProxyProbe()
