"""Wakes the requests of this process that wait for news of a rack, the moment these are committed.

Other processes' changes are not heard here; whoever waits looks by its own timer too, so that costs time and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Wakes:
    """Who waits for which rack. Threads share the object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = {}

    @contextmanager
    def listening(self, rack_name: str) -> Iterator[threading.Event]:
        """An event that is set whenever something is new for the rack; whoever waits clears it before it looks."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(rack_name, set()).add(event)
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[rack_name].discard(event)
                if not self._waiting[rack_name]:
                    del self._waiting[rack_name]

    def ring(self, rack_name: str) -> None:
        """Something is new for the rack."""
        with self._lock:
            for event in self._waiting.get(rack_name, ()):
                event.set()
