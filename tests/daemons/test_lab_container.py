"""Containers with a real systemd: they are their own, survive a reboot, and leave nothing, however they end."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import namespace
from lab.container import Failed
from lab.package_proxy import PackageProxy
from tests.daemons.containers import container

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(900)]

HELD = """
import sys, time
from lab.container import Container
with Container() as host:
    print(host.name, host.pid, flush=True)
    time.sleep(600)
"""


def left_of(name: str) -> list[str]:
    """What can be seen of a container: its network namespace, its directory, its control groups, processes."""
    found = [f"namespace {name}"] if namespace.exists(name) else []
    found += [str(path) for path in Path(os.environ.get("TMPDIR", "/tmp")).glob(f"{name}-*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{name}.*") if path.is_dir()]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in path.read_bytes():
                found.append(f"process {path.parent.name}")
        except OSError:
            continue
    return found


def test_a_reboot_keeps_files_and_network_and_the_end_keeps_nothing() -> None:
    """systemd is its first process and brings up its loopback; what it writes is its own and outlives a boot of any kind."""
    with container() as host:
        first = host.pid
        namespace.batch(host.name, ["link add wire0 type veth peer name wire1", "link set wire0 up"])
        (host.files / "root" / "kept").write_text("yes")
        host.reboot()
        second = host.pid
        host.fail_power()
        kept = host.run(["cat", "/root/kept"]).stdout
        links = host.run(["ip", "-brief", "link"]).stdout
        who = host.run(["cat", "/proc/1/comm", "/proc/sys/kernel/hostname"]).stdout.split()
        with pytest.raises(Failed, match="exit 3: not this"):
            host.run(["sh", "-c", "echo not this; exit 3"])
        third = host.pid
        with container() as other:
            strange = other.run(["ls", "/root"]).stdout

    assert ("yes", ["systemd", host.name], "") == (kept, who, strange)
    assert 3 == len({first, second, third})
    assert {line.split()[0] for line in links.splitlines()} == {"lo", "wire0@wire1", "wire1@wire0"}
    assert [] == left_of(host.name) + left_of(other.name)


def test_a_killed_test_leaves_nothing() -> None:
    """The process that made a container is killed; the container's processes, namespace, groups and files go away."""
    with container():
        pass  # The root is made, or the test skipped.
    process = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        name, pid = process.stdout.readline().split()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    end = time.monotonic() + 30
    while (left := left_of(name)) and time.monotonic() < end:
        time.sleep(0.1)

    assert [] == left
    assert not Path(f"/proc/{pid}").exists()


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that says what it was asked."""

    def do_GET(self) -> None:
        """Say the request line's target and the credentials meant for a proxy."""
        body = f"{self.path} {self.headers.get('Proxy-Authorization', '')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *ignored: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[int]:
    """Port of the server on loopback."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made.server_address[1]
    made.shutdown()
    thread.join()
    made.server_close()


def asked(proxy: PackageProxy, port: int, request: str) -> str:
    """The whole answer to one request through a proxy."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(request.encode())
        client.settimeout(10)
        said = b""
        while piece := client.recv(65536):
            said += piece
            if said.endswith(b"established\r\n\r\n"):
                client.sendall(b"GET /within HTTP/1.0\r\n\r\n")
    return said.decode()


def test_packages_come_by_a_proxy(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain requests and tunnels reach a server, directly or by this host's own proxy, and no other port than packages'."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        proxy = PackageProxy(listener, frozenset({server}))
        plain = asked(proxy, port, f"GET http://127.0.0.1:{server}/a?b HTTP/1.1\r\nHost: x\r\n\r\n")
        tunnel = asked(proxy, port, f"CONNECT 127.0.0.1:{server} HTTP/1.1\r\n\r\n")
        refused = asked(proxy, port, "CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n")
        monkeypatch.setenv("http_proxy", f"http://me:word@127.0.0.1:{server}")
        chained = asked(proxy, port, f"GET http://packages.example:{server}/a HTTP/1.1\r\nHost: x\r\n\r\n")
        proxy.close()

    assert plain.endswith("\r\n\r\n/a?b ")
    assert tunnel.endswith("\r\n\r\n/within ")
    assert refused.startswith("HTTP/1.1 502")
    assert chained.endswith(f"http://packages.example:{server}/a Basic bWU6d29yZA==")
