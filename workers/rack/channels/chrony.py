"""chronyd reads its configuration only when it starts (chronyc can reload source files, and Muster renders none)."""

from __future__ import annotations

from workers.rack.channels.base import ChannelContext, measured


class ChronyChannel:
    """A restart; clients ask again within a minute and never notice."""

    name = "chrony"

    def activate(self, context: ChannelContext) -> float:
        """Restart."""
        return measured(lambda: context.units.restart(context.service))


CHANNEL = ChronyChannel()
