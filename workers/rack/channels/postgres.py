"""PostgreSQL rereads its files on SIGHUP; settings of memory and sockets wait for the next start (its manual, 20.1)."""

from __future__ import annotations

from workers.rack.channels.base import ChannelContext


class PostgresChannel:
    """SIGHUP; the database keeps answering."""

    name = "postgres"

    def activate(self, context: ChannelContext) -> float:
        """Reread."""
        context.units.signal(context.service, "HUP")
        return 0.0


CHANNEL = PostgresChannel()
