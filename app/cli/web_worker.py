"""gunicorn's threaded worker, changed so that no client holds a thread or the loop by being slow.

* A connection gets a thread when its whole request is there (header, and a body of up to `SMALL` bytes), not before: until then
  it waits in the kernel's buffer, looked at with MSG_PEEK and woken by SO_RCVLOWAT (socket(7)), for `ARRIVE_SECONDS` at most.
  The stock worker gives a thread to every new connection for 5 s, and to a header that comes byte by byte for ever.
* A larger body is read by its thread, and must be there within `BODY_SECONDS`; then the answer is 408.
* An answer that nobody takes ends after `STALL_SECONDS` without progress (SO_SNDTIMEO), and so does a connection whose peer
  acknowledges nothing (tcp(7), TCP_USER_TIMEOUT): an event stream to a browser whose host has gone, which is only written to
  now and then, would otherwise live until the kernel gives up, about a quarter of an hour.
* A closing connection lingers in the loop's own table (RFC 9112, section 9.6).  The stock worker waits for the peer up to 2 s in
  the loop itself, and meanwhile accepts nobody.
"""

from __future__ import annotations

import gc
import re
import select
import selectors
import socket
import struct
import time
from collections import deque
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]
from werkzeug.exceptions import RequestTimeout

PEEK = 64 * 1024
SMALL = 32 * 1024
ARRIVE_SECONDS = 15.0
BODY_SECONDS = 30.0
STALL_SECONDS = 20
LINGER_SECONDS = 2.0
DRAINED = 64 * 1024
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:", re.IGNORECASE)


def missing(data: bytes) -> int:
    """How many bytes there must be before a thread can read the request without waiting; 0 when there are enough."""
    end = data.find(_END)
    if end < 0:
        return 0 if len(data) >= PEEK else len(data) + 1
    head = data[: end + 2]
    length = _LENGTH.search(head)
    if length is None or _EXPECT.search(head):
        return 0
    whole = end + len(_END) + int(length[1])
    return whole if len(data) < whole <= SMALL else 0


class PatientSocket(socket.socket):
    """A connection whose reads must be done by a deadline; RequestTimeout once it has passed, and then its end."""

    deadline: float | None = None
    late = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read what is there, waiting for it until the deadline."""
        if self.deadline is not None and self.gettimeout() is None and not flags:
            if self.late:
                return b""
            poller = select.poll()
            poller.register(self, select.POLLIN)
            if not poller.poll(max(0.0, self.deadline - time.monotonic()) * 1000):
                self.late = True
                raise RequestTimeout(f"the request's body was not there within {BODY_SECONDS:.0f} s")
        return super().recv(size, flags)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """See the module."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self._lingering: deque[tuple[float, socket.socket]] = deque()

    def load_wsgi(self) -> None:
        """Load the application, without looking for garbage: next to nothing of it is, and it took a quarter of the time."""
        gc.disable()
        try:
            super().load_wsgi()
        finally:
            gc.enable()

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection and wait for its request."""
        try:
            accepted, address = listener.accept()
        except OSError:
            return  # It went away, or another process has it.
        link = PatientSocket(fileno=accepted.detach())
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", STALL_SECONDS, 0))
        if link.family != socket.AF_UNIX:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_SECONDS * 1000)
        self.nr_conns += 1
        self._await(TConn(self.cfg, link, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """The next request of a connection begins to arrive."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._await(conn)
        self.on_pending_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """More of a request is there: hand it to a thread when it is whole."""
        try:
            data = client.recv(PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        wanted = missing(data) if data else 0
        waited = getattr(conn, "muster_wanted", 0)
        if not data or (wanted and len(data) < waited):  # Woken without what was waited for: the peer has hung up.
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self.nr_conns -= 1
            conn.close()
            return
        conn.muster_wanted = wanted
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted or 1)
        if not wanted:
            super().on_pending_socket_readable(conn, client)

    def handle(self, conn: Any) -> Any:
        """In a thread: read and answer the request."""
        conn.sock.deadline, conn.sock.late = time.monotonic() + BODY_SECONDS, False
        return super().handle(conn)

    def finish_request(self, conn: Any, future: Any) -> None:
        """In the loop, after a request: wait for the next one, or let the connection go."""
        conn.sock.deadline = None
        conn.close = partial(self._let_go, conn)
        super().finish_request(conn, future)

    def murder_pending(self) -> None:
        """Close what has waited or lingered too long."""
        super().murder_pending()
        while self._lingering and self._lingering[0][0] <= time.monotonic():
            self._drop(self._lingering.popleft()[1])

    def _await(self, conn: Any) -> None:
        conn.muster_wanted = 0
        conn.timeout = time.monotonic() + ARRIVE_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _let_go(self, conn: Any, graceful: bool = False) -> None:
        """Say that nothing more comes, and close when the peer has closed, at the latest after `LINGER_SECONDS`."""
        link: socket.socket = conn.sock
        if graceful and self.alive:
            try:
                link.shutdown(socket.SHUT_WR)
                link.setblocking(False)
                self.poller.register(link, selectors.EVENT_READ, partial(self._drain, [0]))
                self._lingering.append((time.monotonic() + LINGER_SECONDS, link))
                return
            except (OSError, ValueError, KeyError):
                pass  # The peer is gone already.
        link.close()

    def _drain(self, seen: list[int], link: socket.socket) -> None:
        try:
            data = link.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        seen[0] += len(data)
        if not data or seen[0] > DRAINED:
            self._drop(link)

    def _drop(self, link: socket.socket) -> None:
        """Close a lingering connection; one that is closed already is left alone."""
        if link.fileno() >= 0:
            self.poller.unregister(link)
            link.close()
