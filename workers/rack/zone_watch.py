"""Tells the control plane the serial of every zone at this rack's BIND, so that a name is known to be at every rack.

A zone transfer comes whenever it comes; so after every sign of a change the serials are asked for a few times, and told
when they differ from what was told before.  Otherwise they are looked at every half a minute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from workers.rack.channels.base import ChannelDown
from workers.rack.channels.bind import BindUpdater
from workers.rack.client import ControlPlane, ControlPlaneDown, ControlPlaneRefused
from workers.rack.secret_files import SecretMissing

log = structlog.get_logger()

LOOKS_AFTER = (0.05, 0.15, 0.5, 1.5, 5.0)
"""Pauses between looks after a sign of a change."""
IDLE_SECONDS = 30.0
TOGETHER = 500


class ZoneWatch(threading.Thread):
    """zones: names of the zones served here.  take_foreign: what somebody else had changed, given once."""

    def __init__(
        self,
        client: ControlPlane,
        zones: Callable[[], Sequence[str]],
        updater: Callable[[], BindUpdater],
        take_foreign: Callable[[], list[dict[str, str]]],
        seen: dict[str, int],
        stop: threading.Event,
    ) -> None:
        super().__init__(name="zone-watch", daemon=True)
        self._client, self._zones, self._updater, self._take_foreign = client, zones, updater, take_foreign
        self._seen, self._end = seen, stop
        self._poked = threading.Event()
        self._told: dict[str, int] = {}
        self._untold: list[dict[str, str]] = []

    def poke(self) -> None:
        """Something may have changed."""
        self._poked.set()

    def run(self) -> None:
        """Until stopped."""
        while not self._end.is_set():
            poked = self._poked.wait(IDLE_SECONDS)
            self._poked.clear()
            for pause in LOOKS_AFTER if poked else (0.0,):
                if self._end.wait(pause):
                    return
                self.look()
                if self._poked.is_set():
                    break

    def look(self) -> bool:
        """Ask BIND, and tell what has changed since it was told; whether anything was."""
        try:
            zones = list(self._zones())
            serials = self._updater().serials(zones) if zones else {}
            self._seen.update(serials)
            self._untold += self._take_foreign()
            news = {zone: serial for zone, serial in serials.items() if self._told.get(zone) != serial}
            names = sorted(news)
            for begin in range(0, max(1, len(names)), TOGETHER):
                some = names[begin : begin + TOGETHER]
                foreign = self._untold[:TOGETHER]
                if some or foreign:
                    self._client.report_zones({zone: news[zone] for zone in some}, foreign)
                    self._told |= {zone: news[zone] for zone in some}
                    self._untold = self._untold[len(foreign) :]
            return bool(news)
        except (ChannelDown, ControlPlaneDown, SecretMissing) as error:
            log.debug("zones.later", reason=str(error))
        except ControlPlaneRefused as error:
            log.warning("zones.refused", reason=str(error))
        return False
