"""Reports of how far a long step is: at most one every two seconds, and only when it has moved by a percent."""

import threading
import time
from collections.abc import Callable

from .edge import Edge
from .runner import say

INTERVAL_SECONDS = 2.0
MINIMUM_STEP = 0.01


class Progress:
    """Reports the steps of one run; safe to use from several threads."""

    def __init__(self, edge: Edge, clock: Callable[[], float] = time.monotonic) -> None:
        self._edge = edge
        self._clock = clock
        self._lock = threading.Lock()
        self._last_time: float | None = None
        self._last_fraction = 0.0

    def step(self, name: str, message: str) -> None:
        """A new step has begun; always reported."""
        say(f"{name}: {message}")
        with self._lock:
            self._last_time, self._last_fraction = self._clock(), 0.0
            self._edge.status("progress", name, message, None)

    def at(self, name: str, message: str, fraction: float) -> None:
        """A step is at `fraction` (0 to 1); reported only now and then."""
        with self._lock:
            now = self._clock()
            early = self._last_time is not None and now - self._last_time < INTERVAL_SECONDS
            if early or fraction - self._last_fraction < MINIMUM_STEP:
                return
            self._last_time, self._last_fraction = now, fraction
            self._edge.status("progress", name, message, min(1.0, round(fraction, 4)))
