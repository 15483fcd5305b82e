"""squid as a proxy for packages, in every mode: who is served, by whom, and who is refused."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab import namespace
from renderers import registry
from renderers.intent import ProxyIntent, RackIntent
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.golden.case import load

PARENT, MIRROR = "10.20.0.70", "10.20.0.60"
PACKAGE = f"http://{MIRROR}/debian/pool/a.deb"
SEVERAL = "http://packages.example.invalid/debian/pool/b.deb"


class Recorder(BaseHTTPRequestHandler):
    """Says its name and notes what it was asked for, as it was asked: a proxy is asked for whole URLs."""

    def do_GET(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        body = self.server.called.encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(space: str, name: str, address: str, port: int) -> Iterator[list[str]]:
    """A server in a namespace; gives what it is asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder, bind_and_activate=False)
    server.socket.close()
    server.socket = namespace.listen_in(space, address, port)
    server.called, server.seen = name, []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def ask(space: str, url: str, rack: str = "10.20.0.1", port: int = 3128) -> tuple[int, str]:
    """Status and body of a request through the rack; (0, reason) when nothing listens there."""

    def work() -> tuple[int, str]:
        link = http.client.HTTPConnection(rack, port, timeout=20)
        try:
            link.request("GET", url)
            answer = link.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except ConnectionRefusedError as error:
            return 0, str(error)
        finally:
            link.close()

    return namespace.inside(space, work)


@contextmanager
def rack(intent: RackIntent, suffix: str) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Rack and machine, a mirror and a parent proxy beside the machine: namespaces, and what the two are asked for."""
    require("ip", "squid")
    with rack_directory() as root, network_of(intent, f"mx{suffix}-{os.getpid()}") as inside:
        client = f"{inside}-c"
        namespace.batch(client, [f"addr add 10.20.0.{last}/24 dev end0" for last in (50, 60, 70)])
        namespace.batch(client, ["addr add fd20::50/64 dev end0 nodad"])
        namespace.batch(inside, ["addr add 10.255.0.1/32 dev lo"])
        with (
            serving(client, "mirror", MIRROR, 80) as mirror,
            serving(client, "parent", PARENT, 8080) as parent,
            serving(inside, "control", "10.255.0.1", 5240),
            running(registry.service("squid"), at(intent, root), inside),
        ):
            eventually(lambda: _listens(client))
            yield inside, client, mirror, parent


def _listens(client: str) -> None:
    assert ask(client, "/boot/v1/start.ipxe", port=5248)[0] == 200


def _with(mode: ProxyIntent, **of_the_v6_subnet: bool) -> RackIntent:
    """The rack of the lab; its IPv6 subnet is as told."""
    intent = load("lab")
    four, six = intent.vlans[0].subnets
    vlan = replace(intent.vlans[0], subnets=(four, replace(six, **of_the_v6_subnet)))  # type: ignore[arg-type]
    return replace(intent, proxy=mode, vlans=(vlan,))


def test_only_subnets_that_may_are_served() -> None:
    """The same machine is served by its one address and refused by the other; what it boots from answers both."""
    with rack(_with(ProxyIntent(), allow_proxy=False), "b") as (_, client, mirror, _):
        allowed = ask(client, PACKAGE)
        denied = ask(client, PACKAGE.replace("a.deb", "other.deb"), "fd20::1")
        boot = ask(client, "/boot/v1/start.ipxe", "fd20::1", 5248)

    assert ((200, "mirror"), 403, (200, "control")) == (allowed, denied[0], boot)
    assert ["/debian/pool/a.deb"] == mirror


def test_a_parent_is_asked_for_everything() -> None:
    """No mirror is asked directly, no name needs to be known here; guards hold, and nothing comes back to the rack itself."""
    mode = ProxyIntent("peer", PARENT, 8080)
    with rack(_with(mode, allow_proxy=False), "p") as (inside, client, mirror, parent):
        answers = [ask(client, url) for url in (PACKAGE, SEVERAL)]
        stranger = ask(client, PACKAGE, "fd20::1")
        guarded = [
            ask(client, url)[0] for url in ("http://10.255.0.1:8080/", "http://127.0.0.1:8080/", "http://10.20.0.1/")
        ]
        itself = ask(inside, PACKAGE.replace("a.deb", "loop.deb"))
        boot = ask(client, "/boot/v1/start.ipxe", port=5248)

    assert [(200, "parent")] * 2 == answers
    assert ([PACKAGE, SEVERAL], []) == (parent, mirror)
    assert (403, [403] * 3, 403) == (stranger[0], guarded, itself[0])
    assert (200, "control") == boot


def test_a_parent_that_is_away_is_not_gone_around() -> None:
    """Where the parent does not answer, squid says so and asks nobody else."""
    with rack(_with(ProxyIntent("peer", PARENT, 8081)), "a") as (_, client, mirror, parent):
        status = ask(client, PACKAGE)[0]

    assert status in (502, 503, 504)
    assert ([], []) == (mirror, parent)


def test_a_rack_that_is_no_proxy_refuses_and_still_serves_boots() -> None:
    """Nothing listens at the proxy's port, the other port passes no foreign URL on, and the accelerator works."""
    with rack(_with(ProxyIntent("none")), "n") as (_, client, mirror, _):
        proxy = ask(client, PACKAGE)
        through = ask(client, PACKAGE, port=5248)
        boot = ask(client, "/boot/v1/start.ipxe", port=5248)

    assert (0, 403, (200, "control"), []) == (proxy[0], through[0], boot, mirror)
