"""rsyslogd reads its configuration only when it starts; SIGHUP just opens its files anew (rsyslogd(8), SIGNALS)."""

from __future__ import annotations

from workers.rack.channels.base import ChannelContext, measured


class RsyslogChannel:
    """A restart; what senders by TCP had not got rid of they send again, datagrams of that moment are lost."""

    name = "rsyslog"

    def activate(self, context: ChannelContext) -> float:
        """Restart."""
        return measured(lambda: context.units.restart(context.service))


CHANNEL = RsyslogChannel()
