"""What `muster run` serves: prompt answers whatever slow clients do, and the counters of all its processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from app.cli.run import THREADS
from app.cli.web_worker import SMALL

MANY = THREADS * 3
PATIENCE_SECONDS = 60.0
PROMPT_SECONDS = 5.0
"""A machine that is busy with other things answers later than one at rest; a server that is held answers never."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A control plane as `muster run` starts it."""
    folder: Path = tmp_path_factory.mktemp("slow")
    link = socket.create_server(("127.0.0.1", 0))
    where = link.getsockname()
    argv = [sys.executable, "-m", "app.cli", "run", "--state-dir", str(folder / "s"), "--listen-fd", str(link.fileno())]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, pass_fds=[link.fileno()], start_new_session=True)
    try:
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://127.0.0.1:{where[1]}/healthz", timeout=2).ok:
                    break
            assert time.monotonic() < ends, (folder / "out").read_text()
            assert process.poll() is None, (folder / "out").read_text()
            time.sleep(0.1)
        yield where
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            link.close()


def slowest_answer(address: tuple[str, int], times: int = 5) -> float:
    """How long the slowest of several new callers has to wait."""
    took = []
    for _ in range(times):
        begin = time.monotonic()
        answer = requests.get(f"http://{address[0]}:{address[1]}/api/v1/health/ready", timeout=PATIENCE_SECONDS)
        assert 200 == answer.status_code
        took.append(time.monotonic() - begin)
    return max(took)


@contextlib.contextmanager
def clients(address: tuple[str, int], begin: bytes, more: bytes, many: int = MANY) -> Iterator[list[socket.socket]]:
    """Connections that say `begin` and then one byte of `more` now and then."""
    links = [socket.create_connection(address, timeout=PATIENCE_SECONDS) for _ in range(many)]
    stop = threading.Event()

    def drip() -> None:
        for index in range(len(more)):
            if stop.wait(0.2):
                return
            for link in links:
                with contextlib.suppress(OSError):
                    link.send(more[index : index + 1])

    for link in links:
        if begin:
            link.sendall(begin)
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield links
    finally:
        stop.set()
        thread.join()
        for link in links:
            link.close()


LOGIN = b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n"
JSON = {"Content-Type": "application/json"}
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
SLOW: dict[str, tuple[bytes, bytes]] = {
    "silent": (b"", b""),
    "header byte by byte": (b"", GET + b"X-A: " + b"a" * 5000),
    "body byte by byte": (LOGIN, b"{" * 1999),
    "answer not taken and not closed": (GET + b"Connection: close\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_clients_hold_nobody_up(address: tuple[str, int], name: str) -> None:
    """Three times as many of them as there are threads, and everybody else is answered at once."""
    with clients(address, *SLOW[name]):
        assert slowest_answer(address) < PROMPT_SECONDS


def test_slow_clients_are_let_go(address: tuple[str, int]) -> None:
    """A request that does not arrive within a quarter of a minute is not waited for."""
    with clients(address, GET, b"", 3) as links:
        for link in links:
            with contextlib.suppress(ConnectionResetError):  # What it had said was read by nobody.
                assert b"" == link.recv(10)


def test_ordinary_callers_notice_nothing(address: tuple[str, int]) -> None:
    """Connections kept alive, pipelined requests, large and chunked bodies, a body that waits for 100 Continue."""
    base = f"http://{address[0]}:{address[1]}"
    with requests.Session() as session:
        for _ in range(5):
            assert 200 == session.get(f"{base}/healthz").status_code
        for size, status in ((10, 401), (SMALL, 422), (200_000, 413)):
            body = json.dumps({"name": "n", "password": "x" * size})
            # A connection of its own: the server hangs up on a body that it did not want to read.
            answer = requests.post(
                f"{base}/api/v1/login", data=body, headers={"Content-Type": "application/json"}, timeout=60
            )
            assert status == answer.status_code, answer.text
        body = json.dumps({"name": "n", "password": "wrong"}).encode()
        chunks: Callable[[], Iterator[bytes]] = lambda: iter([body[:5], body[5:]])  # noqa: E731
        answer = requests.post(f"{base}/api/v1/login", data=chunks(), headers=JSON, timeout=60)
        assert 411 == answer.status_code, answer.text
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as link:
        link.sendall(2 * (GET + b"\r\n"))
        seen = b""
        while seen.count(b"HTTP/1.1 200") < 2:
            seen += (piece := link.recv(4096))
            assert piece, seen
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as link:
        link.sendall(LOGIN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert b"100 Continue" in link.recv(4096)


def test_one_scrape_sees_all_processes(address: tuple[str, int]) -> None:
    """The region worker's looks and the web server's requests are at one address; the worker's sign makes it ready."""
    base = f"http://{address[0]}:{address[1]}"
    wanted = (
        'muster_worker_looks_total{outcome="done",task="sign"}',
        "muster_http_requests_total{",
        "muster_machines{",
    )
    ends = time.monotonic() + PATIENCE_SECONDS
    while requests.get(f"{base}/readyz?strict=1", timeout=PATIENCE_SECONDS).status_code != 200:
        assert time.monotonic() < ends
        time.sleep(0.2)
    text = requests.get(f"{base}/metrics", timeout=PATIENCE_SECONDS).text

    assert all(word in text for word in wanted), text
