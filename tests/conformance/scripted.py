"""An HTTPS server that answers as a test's function says: for controllers with habits that no emulator has."""

from __future__ import annotations

import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.certificate import make_certificate
from lab.redfish import fingerprint


@dataclass(frozen=True)
class Request:
    """What a driver asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What it is answered; a body that is no bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Scripted:
    """A running server: its port, the SHA-256 of its certificate, and all that it was asked."""

    port: int
    certificate: str
    requests: list[Request]

    def asked(self, method: str) -> list[Request]:
        """The requests of one method."""
        return [request for request in self.requests if request.method == method]


@contextmanager
def scripted(folder: Path, script: Callable[[Request], Answer], tls: bool = True) -> Iterator[Scripted]:
    """Serve until left."""
    requests: list[Request] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers, body)
            requests.append(request)
            answer = script(request)
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

        def log_message(self, *_: object) -> None:
            """Nothing."""

    certificate = folder / "scripted.pem"
    make_certificate(certificate, "scripted", [ipaddress.ip_address("127.0.0.1")])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Scripted(server.server_address[1], fingerprint(certificate), requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
