"""Asks a primary zone whether it would take a record: a signed update that changes nothing (RFC 2136, section 3.3).

A zone may answer for its SOA and refuse every record; then names of machines would never arrive.  BIND judges who may
update before it looks at what is to be updated.
"""

from __future__ import annotations

import dns.exception
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text
from workers.rack.secret_files import SecretMissing

SECONDS = 2.0
SECRET = "tsig-update"  # noqa: S105 - the name of a file
KEY_NAME, KEY_ALGORITHM = "muster-update", "hmac-sha256"


class DnsUpdateProbe:
    """Parameters: server, port, zone."""

    kind = "dns_update"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """That the zone takes records."""
        zone = text(spec, "zone")
        try:
            keys = dns.tsigkeyring.from_text({KEY_NAME: context.secret(SECRET)})
            message = dns.update.UpdateMessage(zone, keyring=keys, keyalgorithm=KEY_ALGORITHM)
            answer = dns.query.tcp(message, text(spec, "server"), timeout=SECONDS, port=number(spec, "port"))
        except (SecretMissing, OSError, EOFError, dns.exception.DNSException) as error:
            raise ProbeFailure(f"zone {zone} takes no records: {type(error).__name__}: {error}") from error
        if answer.rcode() != dns.rcode.NOERROR:
            raise ProbeFailure(f"zone {zone} takes no records: bind answers {dns.rcode.to_text(answer.rcode())}")
        return f"{zone} takes records"


PROBE = DnsUpdateProbe()
