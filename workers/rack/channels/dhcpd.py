"""dhcpd reads its configuration when it starts, and only then (dhcpd(8), "CONFIGURATION")."""

from __future__ import annotations

from workers.rack.channels.base import ChannelContext, measured


class DhcpdChannel:
    """A restart; leases and hosts are in its file of leases."""

    name = "dhcpd"

    def activate(self, context: ChannelContext) -> float:
        """Stop and start."""
        return measured(lambda: context.units.restart(context.service))


CHANNEL = DhcpdChannel()
