"""Ways to be woken: the control plane's long poll, and the doorbell on this host.

Both only set an event; whoever waits for it looks for itself what is new, and looks by its own timer too, so a wake that
is lost costs time and nothing else.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog

from workers.rack.client import WAIT_SECONDS, ControlPlane, ControlPlaneDown, ControlPlaneRefused

log = structlog.get_logger()

KINDS = ("offer", "records", "power", "questions")
PAUSE_SECONDS = (1.0, 2.0, 5.0, 10.0)
DATAGRAM_BYTES = 64


class LongPoll(threading.Thread):
    """Waits at the control plane for numbers higher than it has told us, and sets the events when there are.

    wake: set for news of any kind in `kinds`, and when the control plane is back.  also: set for news of a kind of its own.
    """

    def __init__(
        self,
        client: ControlPlane,
        wake: threading.Event,
        stop: threading.Event,
        seconds: int = WAIT_SECONDS,
        kinds: tuple[str, ...] = KINDS,
        also: Mapping[str, threading.Event] | None = None,
    ) -> None:
        super().__init__(name="long-poll", daemon=True)
        self._client, self._wake, self._end, self._seconds = client, wake, stop, seconds
        self._kinds, self._also = kinds, dict(also or {})
        self._known = dict.fromkeys(KINDS, 0)

    def run(self) -> None:
        """Until stopped; the control plane being down is waited out with growing pauses."""
        failures = 0
        while not self._end.is_set():
            try:
                answer = self._client.wait(**self._known, seconds=self._seconds, only=self._kinds)
                news = {name: int(answer.get(name) or 0) for name in self._known}
            except (ControlPlaneDown, ControlPlaneRefused, TypeError, ValueError) as error:
                if failures == 0:
                    log.warning("wait.failed", reason=str(error))
                self._end.wait(PAUSE_SECONDS[min(failures, len(PAUSE_SECONDS) - 1)])
                failures += 1
                continue
            new = {name for name in KINDS if failures or news[name] != self._known[name]}
            for kind in new & self._also.keys():
                self._also[kind].set()
            if new & set(self._kinds):
                self._wake.set()
            elif not new and answer.get("changed"):
                # An answer that claims news without any would otherwise be asked again at once, for ever.
                self._end.wait(PAUSE_SECONDS[0])
            self._known, failures = news, 0


class Doorbell(threading.Thread):
    """A unix datagram socket; any datagram sets the event."""

    def __init__(self, path: Path, wake: threading.Event, stop: threading.Event) -> None:
        super().__init__(name="doorbell", daemon=True)
        self._wake, self._end = wake, stop
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.settimeout(1.0)

    def run(self) -> None:
        """Until stopped."""
        with self._socket:
            while not self._end.is_set():
                try:
                    self._socket.recv(DATAGRAM_BYTES)
                except TimeoutError:
                    continue
                self._wake.set()


def ring(path: Path) -> bool:
    """Ring the doorbell of the agent on this host; False if nobody listens (its timer will do)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.setblocking(False)
        try:
            bell.sendto(b"wake", str(path))
        except OSError:
            return False
    return True


def wait_for(wake: threading.Event, stop: threading.Event, seconds: float, step: float = 0.5) -> None:
    """Until the event is set (it is cleared), the time is over, or a stop is asked for."""
    left = seconds
    while left > 0 and not stop.is_set():
        if wake.wait(min(step, left)):
            break
        left -= step
    wake.clear()
