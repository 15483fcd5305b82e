"""A request at the machines' port: any answer that is not squid's refusal proves that the accelerator works.

The control plane behind it may be down (squid then answers 502 to 504): a rack is not to blame for that, and its
configuration must not be undone for it.
"""

from __future__ import annotations

import http.client

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text

SECONDS = 8.0


def get(server: str, port: int, target: str) -> tuple[int, str]:
    """Status and the value of the Via or Server header; ProbeFailure if there is no HTTP answer."""
    connection = http.client.HTTPConnection(server, port, timeout=SECONDS)
    try:
        connection.request("GET", target, headers={"User-Agent": "muster-rack-probe", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Server", "")
    except (OSError, http.client.HTTPException) as error:
        raise ProbeFailure(f"http://{server}:{port} does not answer: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


class HttpProbe:
    """Parameters: server, port, path."""

    kind = "http"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """The status, and whether the control plane was reached."""
        path = text(spec, "path")
        status, _ = get(text(spec, "server"), number(spec, "port"), path)
        if status in (400, 403, 407):
            raise ProbeFailure(f"{path} is refused with status {status}")
        behind = "; the control plane is not reached" if status in (502, 503, 504) else ""
        return f"{path} answers {status}{behind}"


PROBE = HttpProbe()
