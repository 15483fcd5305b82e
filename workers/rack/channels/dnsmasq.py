"""dnsmasq reads its settings only when it starts (dnsmasq(8), NOTES: SIGHUP), so a change of them is a restart."""

from __future__ import annotations

from workers.rack.channels.base import ChannelContext, measured


class DnsmasqChannel:
    """A restart; TFTP transfers under way are lost and repeated by the firmware."""

    name = "dnsmasq"

    def activate(self, context: ChannelContext) -> float:
        """Restart."""
        return measured(lambda: context.units.restart(context.service))


CHANNEL = DnsmasqChannel()
