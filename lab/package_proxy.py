"""A way out of a container for apt and pip: an HTTP proxy on a socket of its network namespace, served from out here.

It answers plain requests and CONNECT, and reaches the servers as this host does: by the proxy of its environment or of
its apt, else directly.  Nothing of where packages come from is written down; `install` copies what apt and pip of this
host are told, at the time it runs.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

SECONDS = 120.0
HEAD_BYTES = 65536
PORTS = frozenset({80, 443})
"""Packages come from nowhere else; a proxy of this host may be on any port."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_FILES = (Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf"))


class PackageProxy:
    """Serves one listening socket, a thread for each connection, until it is closed."""

    def __init__(self, listener: socket.socket, ports: frozenset[int] = PORTS) -> None:
        """Serve; `ports` are those of servers that it connects to."""
        self._listener = listener
        self._ports = ports
        threading.Thread(target=self._serve, name="package proxy", daemon=True).start()

    def close(self) -> None:
        """Accept nothing more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), name="package connection", daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            client.settimeout(SECONDS)
            head, rest = _read_head(client)
            method, target, *_ = head.decode("latin-1").split(" ", 2)
            try:
                server, through = _connect(target, method == "CONNECT", self._ports)
            except (OSError, ValueError) as error:
                client.sendall(f"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n{error}\n".encode())
                return
            with server:
                if method != "CONNECT":
                    server.sendall(_rewritten(head, through))
                    _send_body(client, server, head, rest)
                    _pump(server, client)
                    return
                if through is None:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(_with_credentials(head, through))
                server.sendall(rest)
                threading.Thread(target=_pump, args=(client, server), name="package tunnel", daemon=True).start()
                _pump(server, client)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(HEAD_BYTES)
        if not more or len(data) > HEAD_BYTES:
            raise ValueError("no request")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _connect(target: str, tunnel: bool, ports: frozenset[int]) -> tuple[socket.socket, str | None]:
    """A connection to the server, or to the proxy that this host uses for it, and that proxy's URL."""
    parts = urlsplit(f"//{target}" if tunnel else target)
    scheme = "https" if tunnel else "http"
    port = parts.port or (443 if tunnel else 80)
    if parts.hostname is None or port not in ports or parts.scheme not in ("", "http"):
        raise ValueError(f"{target}: packages are fetched by http or https from ports {sorted(ports)}")
    proxy = _outer_proxy(scheme, parts.hostname)
    if proxy is not None:
        outer = urlsplit(proxy)
        return socket.create_connection((outer.hostname, outer.port or 80), SECONDS), proxy
    return socket.create_connection((parts.hostname, port), SECONDS), None


def _outer_proxy(scheme: str, host: str) -> str | None:
    if urllib.request.proxy_bypass(host):
        return None
    found = urllib.request.getproxies().get(scheme)
    if found is None and scheme == "http" and shutil.which("apt-config"):
        argv = ["apt-config", "--format=%v", "dump", "Acquire::http::Proxy"]
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
        found = None if said in ("", "DIRECT") else said
    return found


def _rewritten(head: bytes, through: str | None) -> bytes:
    """The request, of which the connection is the only one; a server wants its path only, a proxy the whole URL."""
    first, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ", 2)
    kept = [line for line in fields if line.partition(":")[0].lower() not in ("connection", "proxy-connection")]
    if through is None:
        parts = urlsplit(target)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    text = "\r\n".join([f"{method} {target} {version}", *kept, "Connection: close", "", ""])
    return text.encode("latin-1") if through is None else _with_credentials(text.encode("latin-1"), through)


def _with_credentials(head: bytes, proxy: str) -> bytes:
    parts = urlsplit(proxy)
    if not parts.username:
        return head
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    field = b"\r\nProxy-Authorization: Basic " + base64.b64encode(pair)
    first, _, others = head.partition(b"\r\n")
    return first + field + b"\r\n" + others


def _send_body(client: socket.socket, server: socket.socket, head: bytes, rest: bytes) -> None:
    lengths = [
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    left = lengths[0] if lengths else 0
    while left > 0:
        piece = rest or client.recv(min(left, HEAD_BYTES))
        if not piece:
            return
        server.sendall(piece[:left])
        left, rest = left - len(piece), b""


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(HEAD_BYTES):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def install(root: Path, proxy: str) -> None:
    """Tell apt and pip below `root` what this host's are told now, and to go through `proxy`.

    pip's indexes that are directories of this host are not copied; bind them.
    """
    _below(root, Path("/etc/apt/sources.list")).unlink(missing_ok=True)
    for path in (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"), Path("/etc/apt/trusted.gpg.d")):
        _copy(root, path)
    for path in Path("/etc/apt/sources.list.d").glob("*"):
        if "debian" not in path.name:
            _below(root, path).unlink(missing_ok=True)  # Other vendors' packages are no part of a Debian system.
    _copy(root, Path("/usr/share/keyrings"))
    _below(root, Path("/etc/apt/apt.conf.d/90packages")).write_text(
        f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\nAcquire::http::Pipeline-Depth "0";\n'
        'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\n'
    )
    _copy(root, CERTIFICATES)
    settings = {**_pip_settings(), "proxy": proxy, "cert": str(CERTIFICATES)}
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    _below(root, Path("/etc/pip.conf")).write_text(f"[global]\n{text}")


def _pip_settings() -> dict[str, str]:
    """What pip of this host is told of indexes; what names a place on this host's disk is left out."""
    found: dict[str, str] = {}
    for path in PIP_FILES:
        parser = configparser.RawConfigParser()
        parser.read(path)
        found |= dict(parser.items("global")) if parser.has_section("global") else {}
    for name in ("index-url", "extra-index-url", "trusted-host", "timeout"):
        value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        found |= {name: value} if value else {}
    kept: dict[str, str] = {
        name: found[name] for name in ("index-url", "extra-index-url", "trusted-host", "timeout") if name in found
    }
    for name in ("index-url", "extra-index-url"):
        words = [word for word in kept.pop(name, "").split() if not word.startswith(("file:", "/"))]
        kept |= {name: " ".join(words)} if words else {}
    return kept


def _copy(root: Path, path: Path) -> None:
    target = _below(root, path)
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    elif path.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
