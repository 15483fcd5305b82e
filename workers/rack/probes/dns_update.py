"""Asks a primary zone whether it would take a record: a signed update that changes nothing (RFC 2136, section 3.3).

A zone may answer for its SOA and refuse every record; then names of machines would never arrive.  BIND judges who may
update before it looks at what is to be updated.
"""

from __future__ import annotations

from renderers.spec import ProbeSpec
from workers.rack.channels.base import ChannelError
from workers.rack.channels.bind import BindUpdater
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text
from workers.rack.secret_files import SecretMissing

SECONDS = 2.0
SECRET = "tsig-update"  # noqa: S105 - the name of a file


class DnsUpdateProbe:
    """Parameters: server, port, zone."""

    kind = "dns_update"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """That the zone takes records."""
        zone = text(spec, "zone")
        try:
            BindUpdater(context.secret(SECRET), text(spec, "server"), number(spec, "port"), SECONDS).update(zone, [])
        except (ChannelError, SecretMissing) as error:
            raise ProbeFailure(f"records do not arrive: {error}") from error
        return f"{zone} takes records"


PROBE = DnsUpdateProbe()
