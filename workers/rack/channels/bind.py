"""BIND's control channel and its dynamic updates.

Structure: `rndc reconfig` reads named.conf again and loads new zones; zones that stay are not touched.  A change of the
control channel or of the keys needs that too.  Records: TSIG-signed UPDATE over TCP (RFC 2136, RFC 8945); at most 500
records in one message, because a message may not exceed 64 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.tsigkeyring
import dns.update

from workers.rack.channels.base import ChannelContext, ChannelDown, ChannelError, measured, run

KEY_NAME = "muster-update"
KEY_ALGORITHM = "hmac-sha256"
SECONDS = 10.0


@dataclass(frozen=True)
class RrsetChange:
    """What an owner and type should hold; no rdatas means that it should not exist."""

    name: str
    type: str
    ttl: int
    rdatas: tuple[str, ...]


class BindUpdater:
    """Sends updates to the BIND on this host."""

    def __init__(self, secret: str, server: str = "127.0.0.1", port: int = 53) -> None:
        self._keyring = dns.tsigkeyring.from_text({KEY_NAME: secret})
        self._server = server
        self._port = port

    def update(self, zone: str, changes: Sequence[RrsetChange]) -> None:
        """Replace or delete RRsets, all or none.  ChannelError with BIND's answer, ChannelDown if there is none."""
        try:
            message = dns.update.UpdateMessage(zone, keyring=self._keyring, keyalgorithm=KEY_ALGORITHM)
            for change in changes:
                owner = dns.name.from_text(change.name)
                message.delete(owner, change.type)
                if change.rdatas:
                    rdatas = canonical(change.type, change.rdatas)
                    message.add(owner, dns.rdataset.from_text_list("IN", change.type, change.ttl, rdatas))
        except (dns.exception.DNSException, ValueError) as error:
            raise ChannelError(f"zone {zone}: a record is malformed: {error}") from error
        answer = self._ask(message)
        if answer.rcode() != dns.rcode.NOERROR:
            raise ChannelError(f"zone {zone}: bind refuses the update: {dns.rcode.to_text(answer.rcode())}")

    def lookup(self, name: str, record_type: str) -> tuple[int, tuple[str, ...]]:
        """TTL and rdatas of an RRset as a client sees it, (0, ()) if it does not exist; no recursion."""
        query = dns.message.make_query(name, record_type)
        query.flags &= ~dns.flags.RD
        answer = self._ask(query)
        for rrset in answer.answer:
            if rrset.name == dns.name.from_text(name) and rrset.rdtype == dns.rdatatype.from_text(record_type):
                return int(rrset.ttl), tuple(sorted(rdata.to_text() for rdata in rrset))
        return 0, ()

    def _ask(self, message: dns.message.Message) -> dns.message.Message:
        try:
            return dns.query.tcp(message, self._server, timeout=SECONDS, port=self._port)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            raise ChannelDown(f"bind does not answer on {self._server} port {self._port}: {error}") from error


def canonical(record_type: str, rdatas: Iterable[str]) -> tuple[str, ...]:
    """Rdatas in the form that answers have, sorted; names in them are absolute.  ChannelError names a malformed one."""
    root = dns.name.root
    try:
        made = (dns.rdata.from_text("IN", record_type, text, origin=root, relativize=False) for text in rdatas)
        return tuple(sorted(rdata.to_text() for rdata in made))
    except (dns.exception.DNSException, ValueError) as error:
        raise ChannelError(f"{record_type} record {list(rdatas)}: {error}") from error


class BindChannel:
    """`rndc reconfig`, which costs no answer."""

    name = "bind"

    def activate(self, context: ChannelContext) -> float:
        """Read the new named.conf; a daemon that does not answer rndc is restarted."""
        config = str(context.directories.current / "rndc.conf")
        try:
            run(["rndc", "-c", config, "reconfig"])
        except ChannelError:
            if context.units.is_running(context.service) and self._answers(config):
                raise
            return measured(lambda: context.units.restart(context.service))
        return 0.0

    def _answers(self, config: str) -> bool:
        try:
            run(["rndc", "-c", config, "status"])
        except ChannelError:
            return False
        return True


CHANNEL = BindChannel()
