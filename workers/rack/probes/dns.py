"""Asks for a zone's SOA, and accepts an authoritative answer only."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, number, text

SECONDS = 2.0


class DnsProbe:
    """Parameters: server, port, zone."""

    kind = "dns"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """The zone's serial."""
        server, zone = text(spec, "server"), text(spec, "zone")
        query = dns.message.make_query(zone, "SOA")
        query.flags &= ~dns.flags.RD
        try:
            answer = dns.query.udp(query, server, timeout=SECONDS, port=number(spec, "port"))
        except (OSError, dns.exception.DNSException) as error:
            raise ProbeFailure(f"{server} does not answer for {zone}: {type(error).__name__}") from error
        if answer.rcode() != dns.rcode.NOERROR or not answer.flags & dns.flags.AA:
            raise ProbeFailure(f"{server} is not authoritative for {zone}: {dns.rcode.to_text(answer.rcode())}")
        for rrset in answer.answer:
            if rrset.rdtype == dns.rdatatype.SOA:
                return f"{zone} serial {rrset[0].serial}"
        raise ProbeFailure(f"{server} answers for {zone} without an SOA record")


PROBE = DnsProbe()
