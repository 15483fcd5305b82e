"""Whole zones: their text, and their serials (RFC 1982).  Pure.

A zone is written whole when it is new, lost, or changed by more records than updates carry well.  Its serial must be
above everything that anybody has seen, because a secondary silently ignores an equal or smaller one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from renderers.intent import ZoneIntent

REFRESH_SECONDS, RETRY_SECONDS, EXPIRE_SECONDS = 300, 60, 2_419_200
WRAP, HALF = 1 << 32, 1 << 31


def after(serial: int, other: int) -> bool:
    """Whether a serial comes after another (RFC 1982, section 3.2)."""
    return 0 < (serial - other) % WRAP < HALF


def serial_above(now: int, *known: int) -> int:
    """The lowest good serial: unix time as BIND counts it, or one more than the highest that is known. 0 is no serial."""
    found = now % WRAP
    for serial in known:
        if serial and not after(found, serial):
            found = (serial + 1) % WRAP
    return found or 1


def soa_of(zone: ZoneIntent, serial: int) -> str:
    """The SOA's data."""
    name = zone.name.rstrip(".")
    times = f"{REFRESH_SECONDS} {RETRY_SECONDS} {EXPIRE_SECONDS} {zone.ttl_seconds}"
    return f"{zone.nameserver.rstrip('.')}. hostmaster.{name}. {serial} {times}"


def zone_text(zone: ZoneIntent, serial: int, values: Mapping[str, dict[str, Any]]) -> str:
    """A zone file (RFC 1035, section 5) of everything that the records say; names are absolute, data canonical.

    ValueError names a record that would be more than one line.
    """
    apex = f"{zone.name.rstrip('.')}."
    server = f"{zone.nameserver.rstrip('.')}."
    lines = [f"{apex} {zone.ttl_seconds} IN SOA {soa_of(zone, serial)}"]
    if f"rrset:{apex}:NS" not in values:
        lines.append(f"{apex} {zone.ttl_seconds} IN NS {server}")
    if server.endswith(f".{apex}") and not {f"rrset:{server}:A", f"rrset:{server}:AAAA"} & values.keys():
        lines += [
            f"{server} {zone.ttl_seconds} IN {'AAAA' if ':' in item else 'A'} {item}"
            for item in zone.nameserver_addresses
        ]
    lines += _lines(values.values())
    return "\n".join(lines) + "\n"


def _lines(values: Iterable[dict[str, Any]]) -> list[str]:
    lines = []
    for value in values:
        head = f"{value['name']} {int(value['ttl'])} IN {value['type']} "
        for rdata in value["rdatas"]:
            line = head + rdata
            if not line.isprintable():
                raise ValueError(f"record {value['name']!r} {value['type']} holds line ends or control characters")
            lines.append(line)
    return lines
