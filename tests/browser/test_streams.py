"""Event streams on the server that `muster run` starts: many are held, one too many is refused, stalled ones let go."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from app.cli.web_worker import STALL_SECONDS
from app.config import load
from app.services.changes import changing, event
from app.services.context import Context
from tests.browser.server import Server, running_server

HELD = 200
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as one:
        one.sign_up("vera", "viewer")
        yield one


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.token("vera")


def open_stream(server: Server, token: str, query: str = "", last: str = "") -> socket.socket:
    """A raw connection that has asked for the stream."""
    parts = urlsplit(server.url)
    link = socket.create_connection((str(parts.hostname), parts.port or 80), timeout=PATIENCE_SECONDS)
    resume = f"Last-Event-ID: {last}\r\n" if last else ""
    link.sendall(
        f"GET /api/v1/events/stream{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{resume}\r\n".encode()
    )
    return link


def read_until(link: socket.socket, mark: bytes) -> bytes:
    """What arrives, up to and with the mark."""
    found = b""
    while mark not in found:
        part = link.recv(65536)
        assert part, f"the stream ended before {mark!r}: {found[-500:]!r}"
        found += part
    return found


def say(context: Context, message: str) -> None:
    """One event."""
    with changing(context) as session:
        event(session, context, "test", message)


def until(done: Callable[[], bool]) -> None:
    """Ask again until it is true, for as long as patience lasts."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.1)


def test_two_hundred_streams_and_the_api_answers(server: Server, token: str) -> None:
    """200 streams are open and each gets an event; meanwhile the API answers; the 201st is 503 with Retry-After."""
    assert HELD == load({}).streams
    links = [open_stream(server, token) for _ in range(HELD)]
    try:
        for link in links:
            read_until(link, b": hello")
        headers = {"Authorization": f"Bearer {token}"}
        began = time.monotonic()
        answers = [
            requests.get(f"{server.url}/api/v1/machines", headers=headers, timeout=PATIENCE_SECONDS) for _ in range(20)
        ]
        each = (time.monotonic() - began) / len(answers)
        refused = requests.get(f"{server.url}/api/v1/events/stream", headers=headers, timeout=PATIENCE_SECONDS)
        say(server.context, "to everybody")
        for link in links:
            read_until(link, b"to everybody")

        assert {200} == {answer.status_code for answer in answers}
        assert each < 5, "the API answers, though it may do so slowly on a busy machine"
        assert (503, "application/problem+json") == (refused.status_code, refused.headers["Content-Type"])
        assert int(refused.headers["Retry-After"]) > 0
        assert "200 event streams" in refused.json()["detail"]
    finally:
        for link in links:
            link.close()

    def has_room() -> bool:
        with open_stream(server, token) as again:
            return b" 200 " in read_until(again, b"\r\n")

    until(has_room)


def test_a_stream_goes_on_from_the_last_event_id(server: Server, token: str) -> None:
    """What happened while nobody was connected comes first, once, then what is new."""
    with open_stream(server, token) as link:
        read_until(link, b": hello")
        say(server.context, "first")
        found = read_until(link, b"first").decode()
    last = found.rpartition("id: ")[2].partition("\n")[0]
    say(server.context, "second")
    with open_stream(server, token, last=last) as link:
        read_until(link, b"second")
        say(server.context, "third")
        rest = read_until(link, b"third")

    assert b"first" not in rest
    assert b"second" not in rest


def test_connections_are_impatient(server: Server) -> None:
    """A client that stops in the middle of its request is cut off, and holds no thread of the server."""
    parts = urlsplit(server.url)
    with socket.create_connection((str(parts.hostname), parts.port or 80), timeout=PATIENCE_SECONDS) as link:
        began = time.monotonic()
        link.sendall(b"GET /api/v1/health/live HTTP/1.1\r\nHost:")
        with suppress(ConnectionResetError):  # Closed with a part of the request unread, which resets it.
            while link.recv(4096):
                pass

        assert time.monotonic() - began < 3 * STALL_SECONDS


def test_a_reader_that_stalls_is_cut_off(tmp_path: Path) -> None:
    """Who reads nothing of what is sent loses the connection, and the thread behind it is free again."""
    with running_server(tmp_path, {"MUSTER_STREAMS": "1"}) as server:
        server.sign_up("vera", "viewer")
        token = server.token("vera")
        text = "x" * 60_000
        for _ in range(200):
            say(server.context, text)
        link = open_stream(server, token, query="?after=0")
        try:
            read_until(link, b": hello")  # And nothing more.

            def is_free() -> bool:
                with open_stream(server, token) as again:
                    return b" 200 " in read_until(again, b"\r\n")

            assert not is_free()
            until(is_free)
        finally:
            link.close()
