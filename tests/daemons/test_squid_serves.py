"""squid, as rendered, in front of a control plane: what passes, what is refused, what is kept, what is logged."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab import namespace
from renderers import registry
from tests.daemons.rack_root import SECRETS, at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.golden.case import load

TOKEN = "Bearer very-secret-machine-token"


@dataclass
class Site:
    """A running accelerator, and every request that has reached a server behind it: (server, method, path, headers)."""

    base: Path
    client: str
    seen: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)

    def ask(
        self, path: str, method: str = "GET", port: int = 5248, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """One request from the machine's side; underscores in header names are dashes."""

        def work() -> tuple[int, bytes]:
            link = http.client.HTTPConnection("10.20.0.1", port, timeout=10)
            try:
                link.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
                answer = link.getresponse()
                return answer.status, answer.read()
            finally:
                link.close()

        return namespace.inside(self.client, work)

    def count(self, path: str) -> int:
        """How often a path has reached a server."""
        return sum(1 for _, _, known, _ in self.seen if known == path)


def _serve(site: Site, name: str, space: str, address: str, port: int) -> ThreadingHTTPServer:
    """Start a server that records what it is asked and answers with the path, cacheable for a year."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self.rfile.read(length)
            site.seen.append((name, self.command, self.path, {key.lower(): text for key, text in self.headers.items()}))
            body = b"%s %s" % (name.encode(), self.path.encode())
            if self.path.endswith("/big"):
                body *= 200_000
            self.send_response(200)
            self.send_header("Cache-Control", "public, max-age=31536000, immutable")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = namespace.listen_in(space, address, port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One squid between a machine (10.20.0.50) and the control plane; a mirror stands at 10.20.0.60 beside the machine."""
    require("ip", "squid")
    with rack_directory() as root:
        intent = at(load("lab"), root)
        with network_of(intent, f"mq-{os.getpid()}") as inside:
            client = f"{inside}-c"
            namespace.batch(client, [f"addr add 10.20.0.{last}/24 dev end0" for last in (50, 60)])
            namespace.batch(inside, ["addr add 10.255.0.1/32 dev lo"])
            with running(registry.service("squid"), intent, inside) as base:
                made = Site(base, client)
                servers = [
                    _serve(made, "control", inside, "10.255.0.1", 5240),
                    _serve(made, "mirror", client, "10.20.0.60", 80),
                    _serve(made, "local", inside, "127.0.0.1", 8080),
                ]
                eventually(lambda: made.ask("/nowhere"))
                yield made
                for server in servers:
                    server.shutdown()
                    server.server_close()


def test_machine_requests_pass_with_their_token_and_their_true_address(site: Site) -> None:
    """Authorization passes; a forged X-Forwarded-For and X-Muster-Rack do not; the rack proves itself."""
    answer = site.ask(
        "/machine/v1/task?x=1",
        Authorization=TOKEN,
        X_Forwarded_For="10.9.9.9",
        X_Muster_Rack="rack-2:forged",
    )
    server, _, path, headers = site.seen[-1]

    assert (200, b"control /machine/v1/task?x=1") == answer
    assert ("control", "/machine/v1/task?x=1") == (server, path)
    assert TOKEN == headers["authorization"]
    assert "10.20.0.50" == headers["x-forwarded-for"]
    assert f"rack-1:{SECRETS['relay-token']}" == headers["x-muster-rack"]


def test_posts_pass(site: Site) -> None:
    """A machine's report of one MiB reaches the control plane."""
    assert 200 == site.ask("/machine/v1/results", "POST", body=bytes(1024 * 1024), Authorization=TOKEN)[0]
    assert ("control", "POST") == site.seen[-1][:2]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/v1/machines"),
        ("GET", "/rack/v1/offer"),
        ("GET", "/bootx"),
        ("GET", "/images/../api/v1/machines"),
        ("GET", "/images/%2e%2e/api/v1/machines"),
        ("GET", "/images/..%2Fapi"),
        ("GET", "/boot//api"),
        ("DELETE", "/machine/v1/task"),
        ("GET", "http://10.255.0.1:5240/api/v1/machines"),
        ("GET", "/squid-internal-mgr/info"),
    ],
)
def test_other_paths_are_refused(site: Site, method: str, path: str) -> None:
    """Nothing but the three path trees reaches the control plane, whatever way it is written."""
    before = len(site.seen)

    assert (403, 0) == (site.ask(path, method)[0], len(site.seen) - before)


def test_images_are_kept_and_answers_to_machines_are_not(site: Site) -> None:
    """A second read of an image does not reach the control plane, even if the client says no-cache; other paths always do."""
    image, boot, machine = "/images/aa/root.squashfs/big", "/boot/v1/start.ipxe", "/machine/v1/agent"
    first = site.ask(image)
    second = site.ask(image, Cache_Control="no-cache")
    for path in (boot, machine):
        site.ask(path)
        site.ask(path)

    assert (200, True) == (first[0], first == second)
    assert [1, 2, 2] == [site.count(path) for path in (image, boot, machine)]


def test_one_download_feeds_all_who_ask_at_once(site: Site) -> None:
    """Eight machines that ask for the same image at once cost the control plane one transfer."""
    path = "/images/bb/rootfs.tar.zst/big"
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(site.ask(path)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ([200] * 8, 1) == (answers, site.count(path))


def test_packages_come_through_the_proxy_without_names_of_machines(site: Site) -> None:
    """A mirror is reached and its answer kept; it learns neither the machine's address nor the rack's token."""
    url = "http://10.20.0.60/debian/pool/a.deb"
    answers = [site.ask(url, port=3128)[0] for _ in range(2)]
    headers = next(known for _, _, path, known in site.seen if path == "/debian/pool/a.deb")

    assert ([200, 200], 1) == (answers, site.count("/debian/pool/a.deb"))
    assert set() == {"x-forwarded-for", "x-muster-rack", "via"} & headers.keys()


@pytest.mark.parametrize(
    "url",
    [
        "http://10.255.0.1:5240/rack/v1/offer",
        "http://10.255.0.1/rack/v1/offer",
        "http://[::ffff:10.255.0.1]:8080/",
        "http://10.20.0.1:8080/",
        "http://10.20.0.1:5248/boot/v1/start.ipxe",
        "http://127.0.0.1:8080/",
        "http://127.1.2.3:8080/",
        "http://0.0.0.0:8080/",
        "http://2130706433:8080/",
        "http://[::1]:8080/",
        "http://localhost:8080/",
        "http://169.254.169.254/",
        "http://10.20.0.60:25/",
        "http://[fd20::1]:8080/",
    ],
)
def test_the_proxy_reaches_neither_the_rack_nor_the_control_plane(site: Site, url: str) -> None:
    """The forward proxy refuses the rack itself, its loopback and the control plane, however they are written."""
    before = len(site.seen)

    assert (403, 0) == (site.ask(url, port=3128)[0], len(site.seen) - before)


def test_strangers_are_refused(site: Site) -> None:
    """An address outside the served networks is refused at both ports, even one on the rack."""

    def work() -> int:
        link = http.client.HTTPConnection("10.20.0.1", 5248, timeout=10, source_address=("127.0.0.1", 0))
        link.request("GET", "/boot/v1/start.ipxe")
        return link.getresponse().status

    assert 403 == namespace.inside(site.client.removesuffix("-c"), work)


def test_logs_hold_no_secrets(site: Site) -> None:
    """Neither tokens nor query strings are in the logs; requests are in none, so that none grows with them."""
    assert 200 == site.ask("/machine/v1/logged?token=in-the-query", Authorization=TOKEN)[0]
    text = "".join((site.base / name).read_text() for name in ("state/cache.log", "output.log"))

    assert [] == [word for word in ("very-secret", "in-the-query", SECRETS["relay-token"]) if word in text]
    assert "/machine/v1/logged" not in text
    assert not (site.base / "state" / "access.log").exists()
