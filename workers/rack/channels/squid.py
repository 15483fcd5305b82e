"""squid rereads its configuration on SIGHUP (squid(8), `-k reconfigure`): ports close for some milliseconds."""

from __future__ import annotations

import time

from workers.rack.channels.base import ChannelContext, ChannelError

SETTLE_SECONDS = 10.0
_DONE = "Accepting HTTP Socket connections"


class SquidChannel:
    """SIGHUP, then wait until squid's own log says that it listens again."""

    name = "squid"

    def activate(self, context: ChannelContext) -> float:
        """Reconfigure; the time until squid listens again.  ChannelError if it never says so."""
        log = context.directories.state / "cache.log"
        before = log.stat().st_size if log.exists() else 0
        begin = time.monotonic()
        context.units.signal(context.service, "HUP")
        while time.monotonic() - begin < SETTLE_SECONDS:
            if log.exists():
                with log.open("rb") as file:
                    file.seek(before)
                    if _DONE.encode() in file.read():
                        return time.monotonic() - begin
            if not context.units.is_running(context.service):
                raise ChannelError(f"squid ended while it read its configuration; read {log}")
            time.sleep(0.02)
        raise ChannelError(f"squid does not listen {SETTLE_SECONDS:g} s after it was told to reconfigure; read {log}")


CHANNEL = SquidChannel()
