"""BIND's control channel, its dynamic updates, and what a zone holds.

Structure: `rndc reconfig` reads named.conf again and loads new zones; zones that stay are not touched.  A change of the
control channel or of the keys needs that too.  Records: TSIG-signed UPDATE over TCP (RFC 2136, RFC 8945) with the
prerequisite that what is replaced is what we believe (RFC 2136, section 2.4), so that a foreign change is seen.
A message may not exceed 64 KiB.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
import dns.zone

from workers.rack.channels.base import ChannelContext, ChannelDown, ChannelError, measured, run

KEY_NAME = "muster-update"
KEY_ALGORITHM = "hmac-sha256"
SECONDS = 10.0
AT_ONCE = 100
"""Questions that are sent before the first answer is read."""
FROZEN_TRIES, FROZEN_PAUSE = 50, 0.1


@dataclass(frozen=True)
class RrsetChange:
    """What an owner and type should hold; no rdatas means that it should not exist."""

    name: str
    type: str
    ttl: int
    rdatas: tuple[str, ...]


@dataclass(frozen=True)
class Replacement:
    """A change with what we believe is there: rdatas, () for nothing, None for no belief (then nothing is required)."""

    wanted: RrsetChange
    believed: tuple[str, ...] | None = None


class ForeignChange(ChannelError):
    """What is to be replaced is not what was believed: somebody else has changed it, or it was changed already."""


class BindUpdater:
    """Sends updates and questions to the BIND on this host."""

    def __init__(self, secret: str, server: str = "127.0.0.1", port: int = 53) -> None:
        self._keyring = dns.tsigkeyring.from_text({KEY_NAME: secret})
        self._server = server
        self._port = port

    def update(self, zone: str, changes: Sequence[RrsetChange | Replacement]) -> None:
        """Replace or delete RRsets, all or none.

        ForeignChange when a prerequisite does not hold, ChannelError with BIND's answer, ChannelDown if there is none.
        """
        try:
            message = dns.update.UpdateMessage(zone, keyring=self._keyring, keyalgorithm=KEY_ALGORITHM)
            items = [item if isinstance(item, Replacement) else Replacement(item) for item in changes]
            for item in items:
                _require(message, item)
            # What goes first makes room: a CNAME may come where an A was (RFC 2136, section 3.4.2.2).
            for item in sorted(items, key=lambda item: bool(item.wanted.rdatas)):
                _replace(message, item)
        except (dns.exception.DNSException, ValueError) as error:
            raise ChannelError(f"zone {zone}: a record is malformed: {error}") from error
        rcode = self._ask(message).rcode()
        if rcode in (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN):
            raise ForeignChange(f"zone {zone}: what is to be replaced has changed: {dns.rcode.to_text(rcode)}")
        if rcode != dns.rcode.NOERROR:
            raise ChannelError(f"zone {zone}: bind refuses the update: {dns.rcode.to_text(rcode)}")

    def lookup(self, name: str, record_type: str) -> tuple[int, tuple[str, ...]]:
        """TTL and rdatas of an RRset as a client sees it, (0, ()) if it does not exist; no recursion."""
        return self.lookup_many([(name, record_type)])[0]

    def lookup_many(self, asked: Sequence[tuple[str, str]]) -> list[tuple[int, tuple[str, ...]]]:
        """The same for many, in order, over one connection. ChannelDown if BIND does not answer."""
        found: list[tuple[int, tuple[str, ...]]] = []
        try:
            for begin in range(0, len(asked), AT_ONCE):
                found += self._lookup_some(asked[begin : begin + AT_ONCE])
        except (OSError, EOFError, dns.exception.DNSException) as error:
            raise self._down(error) from error
        return found

    def is_absent(self, zone: str, name: str, record_type: str) -> bool:
        """Whether a zone holds no such RRset, whatever a wildcard answers in its place (RFC 2136, section 2.4.3)."""
        message = dns.update.UpdateMessage(zone, keyring=self._keyring, keyalgorithm=KEY_ALGORITHM)
        message.absent(dns.name.from_text(name), record_type)
        return self._ask(message).rcode() == dns.rcode.NOERROR

    def serials(self, zones: Sequence[str]) -> dict[str, int]:
        """The serial of each zone that BIND is authoritative for."""
        answers = self.lookup_many([(f"{zone.rstrip('.')}.", "SOA") for zone in zones])
        return {zone: int(rdatas[0].split()[2]) for zone, (_, rdatas) in zip(zones, answers, strict=True) if rdatas}

    def read_zone(self, zone: str) -> dict[tuple[str, str], tuple[int, tuple[str, ...]]]:
        """Everything a zone holds by owner and type, but its SOA: by zone transfer (AXFR, RFC 5936)."""
        try:
            transfer = dns.query.xfr(
                self._server,
                zone,
                port=self._port,
                timeout=SECONDS,
                lifetime=SECONDS * 6,
                keyring=self._keyring,
                keyalgorithm=KEY_ALGORITHM,
                relativize=False,
            )
            made = dns.zone.from_xfr(transfer, relativize=False, check_origin=False)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            raise self._down(error) from error
        return {
            (name.to_text(), dns.rdatatype.to_text(rdataset.rdtype)): (
                int(rdataset.ttl),
                tuple(sorted(rdata.to_text() for rdata in rdataset)),
            )
            for name, rdataset in made.iterate_rdatasets()
            if rdataset.rdtype != dns.rdatatype.SOA
        }

    def _lookup_some(self, asked: Sequence[tuple[str, str]]) -> list[tuple[int, tuple[str, ...]]]:
        end = time.time() + SECONDS
        answers: dict[int, dns.message.Message] = {}
        with socket.create_connection((self._server, self._port), SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            for number, (name, record_type) in enumerate(asked):
                query = dns.message.make_query(name, record_type, id=number)
                query.flags &= ~dns.flags.RD
                dns.query.send_tcp(connection, query, end)
            while len(answers) < len(asked):  # They may come in another order (RFC 7766, section 6.2.1.1).
                answer, _ = dns.query.receive_tcp(connection, end)
                answers[answer.id] = answer
        return [_rrset_in(answers[number], *question) for number, question in enumerate(asked)]

    def _ask(self, message: dns.message.Message) -> dns.message.Message:
        try:
            return dns.query.tcp(message, self._server, timeout=SECONDS, port=self._port)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            raise self._down(error) from error

    def _down(self, error: Exception) -> ChannelDown:
        return ChannelDown(f"bind does not answer on {self._server} port {self._port}: {error or type(error).__name__}")


class BindControl:
    """`rndc`, for what updates cannot do."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def command(self, *words: str) -> str:
        """Give an order; what rndc says. ChannelError if it fails."""
        return run(["rndc", "-c", str(self._config), *words])

    def freeze(self, zone: str) -> None:
        """Stop updates of a zone and write its file. Another reload or a frozen zone may be in the way: tried again."""
        for left in range(FROZEN_TRIES, 0, -1):
            try:
                self.command("freeze", zone)
                return
            except ChannelError as error:
                if "already frozen" in str(error):
                    return
                if left == 1 or "already running" not in str(error):
                    raise
                time.sleep(FROZEN_PAUSE)

    def thaw(self, zone: str) -> None:
        """Read a zone's file and take updates again; tried again while another load runs."""
        for left in range(FROZEN_TRIES, 0, -1):
            try:
                self.command("thaw", zone)
                return
            except ChannelError as error:
                if left == 1 or "already running" not in str(error):
                    raise
                time.sleep(FROZEN_PAUSE)


def canonical(record_type: str, rdatas: Iterable[str]) -> tuple[str, ...]:
    """Rdatas in the form that answers have, sorted; names in them are absolute.  ChannelError names a malformed one."""
    root = dns.name.root
    try:
        made = (dns.rdata.from_text("IN", record_type, text, origin=root, relativize=False) for text in rdatas)
        return tuple(sorted(rdata.to_text() for rdata in made))
    except (dns.exception.DNSException, ValueError) as error:
        raise ChannelError(f"{record_type} record {list(rdatas)}: {error}") from error


def _require(message: dns.update.UpdateMessage, item: Replacement) -> None:
    """RFC 2136, sections 2.4.2 and 2.4.3."""
    owner, kind = dns.name.from_text(item.wanted.name), item.wanted.type
    if item.believed:
        message.present(owner, dns.rdataset.from_text_list("IN", kind, 0, canonical(kind, item.believed)))
    elif item.believed is not None:
        message.absent(owner, kind)


def _replace(message: dns.update.UpdateMessage, item: Replacement) -> None:
    wanted = item.wanted
    owner = dns.name.from_text(wanted.name)
    rdatas = canonical(wanted.type, wanted.rdatas)
    if wanted.type == "NS" and owner == message.origin:
        # The name servers of the zone itself cannot be deleted as a whole (RFC 2136, section 3.4.2.3).
        message.add(owner, dns.rdataset.from_text_list("IN", "NS", wanted.ttl, rdatas))
        for gone in sorted(set(item.believed or ()) - set(rdatas)):
            message.delete(owner, "NS", gone)
        return
    if wanted.type != "SOA":
        message.delete(owner, wanted.type)
    if rdatas:
        message.add(owner, dns.rdataset.from_text_list("IN", wanted.type, wanted.ttl, rdatas))


def _rrset_in(answer: dns.message.Message, name: str, record_type: str) -> tuple[int, tuple[str, ...]]:
    wanted, kind = dns.name.from_text(name), dns.rdatatype.from_text(record_type)
    # Of a delegation the NS records are in the authority section (RFC 1034, section 4.3.2).
    for rrset in (*answer.answer, *(answer.authority if kind == dns.rdatatype.NS else ())):
        if rrset.name == wanted and rrset.rdtype == kind:
            return int(rrset.ttl), tuple(sorted(rdata.to_text() for rdata in rrset))
    return 0, ()


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
