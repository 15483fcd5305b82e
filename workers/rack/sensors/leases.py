"""Which addresses this rack's DHCP servers have leased, told to the control plane as what changed, and at times as a whole.

Read every LEASE_SECONDS and after an offer: from Kea by its lease commands in pages (Kea ARM, "The lease_cmds hook"),
and from its file where the hook is missing; from ISC dhcpd's file (dhcpd.leases(5)).  Only leases that live are told:
declined and reclaimed ones (Kea's states 1 and 2), dhcpd's free and abandoned ones and prefixes are not.

The whole of a family is told as pages of all leases between two addresses, so that the control plane knows which are
gone without having to be told of each, and an agent that begins anew needs no memory.  A server that cannot be read says
nothing, and nothing of it is called gone; nor is what a server had leased that serves no more, as clients go on using
it: that expires.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import structlog

from workers.rack.channels import kea
from workers.rack.channels.base import ChannelError
from workers.rack.dhcpd_leases import LeaseEntry
from workers.rack.files import ServiceDirectories
from workers.rack.lease_files import read_leases

log = structlog.get_logger()

LEASE_SECONDS = 30.0
WHOLE_SECONDS = 600.0
"""So often everything is told, whatever was told before: what differs for any reason differs no longer than that."""
PAGE = 1000
"""Leases in one report."""
FAMILIES = {4: ("kea4", "dhcpd"), 6: ("kea6",)}
"""Services by the family of the addresses that they lease."""
LONGEST_SECONDS = 0xFFFFFFFF
"""DHCP's lease time without an end (RFC 2131, section 3.3); one from dhcpd is told as ending so much after it began."""
LONGEST_HOSTNAME = 255

Seen = dict[str, dict[str, Any]]
"""What is told of each lease, by address."""


class Listener(Protocol):
    """Who is told."""

    def report_leases(self, report: Mapping[str, Any]) -> list[dict[str, str]]:
        """Take a report; what of it is refused."""


class LeaseSensor:
    """Reads the leases of one rack and tells them."""

    def __init__(
        self,
        directories: Callable[[str], ServiceDirectories],
        serves: Callable[[str], bool],
        listener: Listener,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set up. clock: seconds since 1970, as leases have them."""
        self._directories, self._serves, self._listener, self._clock = directories, serves, listener, clock
        self._due = 0.0
        self._told: dict[int, tuple[float, Seen]] = {}

    def soon(self) -> None:
        """Read at the next call, whenever that is: something was applied."""
        self._due = 0.0

    def tell(self) -> None:
        """If it is time: read the leases, and tell what changed since it was told. Raises what the listener raises."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LEASE_SECONDS
        for family, services in FAMILIES.items():
            serving = [service for service in services if self._serves(service)]
            if not serving:
                self._told.pop(family, None)
                continue
            try:
                found: Seen = {}
                for service in serving:
                    found |= read(service, self._directories(service), self._clock())
            except (ChannelError, OSError) as error:
                log.warning("leases.unread", services=serving, reason=str(error))
                continue
            # What a failure leaves half told is told as a whole next time.
            told = self._told.pop(family, None)
            is_whole = told is None or now - told[0] >= WHOLE_SECONDS
            reports = whole(found, family) if told is None or is_whole else changes(told[1], found)
            for report in reports:
                refused = self._listener.report_leases(report)
                if refused:
                    log.warning("leases.refused", count=len(refused), first=refused[0])
            self._told[family] = (now if told is None or is_whole else told[0], found)


def read(service: str, directories: ServiceDirectories, now: float) -> Seen:
    """The living leases of a server, at a time in seconds since 1970.  ChannelError or OSError if they cannot be read."""
    if service in kea.KINDS:
        daemon = kea.client(directories)
        if daemon.pages_leases():
            return of_kea((lease for page in daemon.lease_pages(PAGE) for lease in page), now)
        if kea.KINDS[service].family == 6:
            raise ChannelError("kea6 runs without the lease commands; install the hook libdhcp_lease_cmds")
    return of_files(read_leases(service, directories).values(), now)


def of_kea(leases: Iterable[Mapping[str, Any]], now: float) -> Seen:
    """What Kea's lease commands answer.  Entries that make no sense are passed over."""
    found: Seen = {}
    for lease in leases:
        try:
            if lease["state"] != 0 or lease.get("type", "IA_NA") != "IA_NA":
                continue
            began = int(lease["cltt"])
            _add(
                found,
                now,
                str(lease["ip-address"]),
                began,
                began + int(lease["valid-lft"]),
                mac=lease.get("hw-address"),
                duid=lease.get("duid"),
                hostname=lease.get("hostname"),
            )
        except (KeyError, TypeError, ValueError):
            continue
    return found


def of_files(leases: Iterable[LeaseEntry], now: float) -> Seen:
    """What a server's file of leases says."""
    found: Seen = {}
    for lease in leases:
        if lease.state == "active":
            _add(found, now, lease.address, lease.starts, lease.ends, mac=lease.mac, hostname=lease.hostname)
    return found


def changes(told: Seen, found: Seen) -> list[dict[str, Any]]:
    """Reports of the leases that are new or otherwise than told, and of addresses that are leased no more."""
    changed = [lease for address, lease in found.items() if told.get(address) != lease]
    gone = [address for address in told if address not in found]
    return [
        {"leases": changed[begin : begin + PAGE], "ended": gone[begin : begin + PAGE]}
        for begin in range(0, max(len(changed), len(gone)), PAGE)
    ]


def whole(found: Seen, family: int) -> list[dict[str, Any]]:
    """Reports of all leases: each of those from one address to another, which together are all addresses of the family."""
    kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]
    kind = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    numbers = {int(ipaddress.ip_address(address)): lease for address, lease in found.items()}
    order = sorted(numbers)
    reports, first = [], 0
    for begin in range(0, len(order) or 1, PAGE):
        some = order[begin : begin + PAGE]
        last = order[begin + PAGE] - 1 if begin + PAGE < len(order) else (1 << (32 if family == 4 else 128)) - 1
        span = {"first": str(kind(first)), "last": str(kind(last))}
        reports.append({"leases": [numbers[number] for number in some], "ended": [], "span": span})
        first = last + 1
    return reports


def _add(found: Seen, now: float, address: str, began: int, ends: int, **who: str | None) -> None:
    """One lease, if it lives. What clients call themselves is cut and made printable."""
    ends = min(ends, began + LONGEST_SECONDS)
    if ends <= now:
        return
    text = str(ipaddress.ip_address(address))
    hostname = "".join(one if one.isprintable() else "?" for one in who.get("hostname") or "").rstrip(".")
    found[text] = {
        "address": text,
        "mac": (who.get("mac") or "").lower() or None,
        "duid": (who.get("duid") or "").lower() or None,
        "hostname": hostname[:LONGEST_HOSTNAME] or None,
        "started_at": began,
        "expires_at": ends,
    }
