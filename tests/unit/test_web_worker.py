"""The web server's worker: what a connection is given, and when its request is there."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from gunicorn.config import Config

from app.cli.web_worker import PEEK, STALL_SECONDS, PatientWorker, missing

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


def test_what_is_waited_for() -> None:
    """Until a header is whole one byte more is; then a small body, but no large one and none that is announced."""
    assert 4 == missing(b"GET")
    assert 0 == missing(b"x" * PEEK)
    assert 0 == missing(GET + b"\r\n")
    head = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n"
    assert len(head) + 10 == missing(head) == missing(head + b"123456789")
    assert 0 == missing(head + b"1234567890")
    assert 0 == missing(head.replace(b"10", b"99999999"))
    assert 0 == missing(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert 0 == missing(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A connection as the worker's loop has taken it."""
    waiting: list[Any] = []
    monkeypatch.setattr(PatientWorker, "__init__", lambda self: None)
    worker: Any = PatientWorker()
    worker.cfg, worker.nr_conns = Config(), 0
    monkeypatch.setattr(worker, "_await", waiting.append)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=10),
    ):
        worker.accept(listener)
        with closing(waiting[0].sock):
            yield waiting[0].sock


def test_a_connection_whose_peer_is_gone_ends(accepted: socket.socket) -> None:
    """Neither an answer that nobody takes nor a host that acknowledges nothing lasts; only then is it the kernel's word."""
    stalled = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16)

    assert (STALL_SECONDS, 0) == struct.unpack("ll", stalled)
    assert STALL_SECONDS * 1000 == accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
