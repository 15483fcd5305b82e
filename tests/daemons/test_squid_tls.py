"""squid, as rendered, in front of a control plane that is reached by https: it asks encrypted, and only whom it knows."""

from __future__ import annotations

import dataclasses
import http.client
import ipaddress
import os
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab import namespace
from lab.certificate import make_certificate
from renderers import registry
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.golden.case import load

CONTROL = "10.255.0.1"
LARGE = 500_000


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = (b"control " + self.path.encode()) * (LARGE if self.path.endswith("/large") else 1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _ask(space: str, path: str = "/boot/v1/start.ipxe") -> tuple[int, bytes]:
    def work() -> tuple[int, bytes]:
        link = http.client.HTTPConnection("10.20.0.1", 5248, timeout=10)
        try:
            link.request("GET", path)
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    return namespace.inside(space, work)


@pytest.mark.parametrize("known", [True, False], ids=["of a known authority", "of an unknown authority"])
def test_the_control_plane_is_asked_by_tls(tmp_path: Path, known: bool) -> None:
    """Machines' requests reach it where its certificate is one that the host believes, and not otherwise."""
    require("ip", "squid")
    certificate, other = tmp_path / "certificate.pem", tmp_path / "other.pem"
    for path in (certificate, other):
        make_certificate(path, "control", [ipaddress.ip_address(CONTROL)])
    with rack_directory() as root:
        believed = Path(root) / "authorities.crt"
        text = (certificate if known else other).read_text()
        believed.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
        believed.chmod(0o644)
        intent = at(load("lab"), root)
        layout = dataclasses.replace(intent.layout, control_plane_ca=str(believed))
        intent = dataclasses.replace(intent, layout=layout, control_plane_port=443)
        with network_of(intent, f"mt-{os.getpid()}") as inside:
            client = f"{inside}-c"
            namespace.batch(client, ["addr add 10.20.0.50/24 dev end0"])
            namespace.batch(inside, [f"addr add {CONTROL}/32 dev lo"])
            server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer, bind_and_activate=False)
            server.socket.close()
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            server.socket = tls.wrap_socket(
                namespace.listen_in(inside, CONTROL, 443), server_side=True, do_handshake_on_connect=False
            )
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                with running(registry.service("squid"), intent, inside):
                    status, body = eventually(lambda: _ask(client))
                    large = _ask(client, "/images/sha256/large")
            finally:
                server.shutdown()
                server.server_close()

    if known:
        assert (200, b"control /boot/v1/start.ipxe") == (status, body)
        assert (200, b"control /images/sha256/large" * LARGE) == large
    else:
        assert status >= 500
