"""radvd rereads its configuration on SIGHUP (radvd(8), SIGNALS)."""

from __future__ import annotations

from workers.rack.channels.base import ChannelContext


class RadvdChannel:
    """SIGHUP; the daemon keeps answering."""

    name = "radvd"

    def activate(self, context: ChannelContext) -> float:
        """Reread."""
        context.units.signal(context.service, "HUP")
        return 0.0


CHANNEL = RadvdChannel()
