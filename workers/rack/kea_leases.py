"""Kea's file of DHCPv4 leases, read and written (Kea ARM, "Memfile - Basic Storage for Leases").  Pure.

A file of comma separated values with a head; the last word on an address counts, and one with a lifetime of zero says
that the lease is gone.  Commas in host names are written `&#x2c`.  A newer Kea has more columns and takes files with
fewer.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from workers.rack.dhcpd_leases import NEVER, LeaseEntry

HEAD = (
    *("address", "hwaddr", "client_id", "valid_lifetime", "expire", "subnet_id"),
    *("fqdn_fwd", "fqdn_rev", "hostname", "state", "user_context"),
)
LONGEST = 0xFFFFFFFF
"""Kea's lifetime without an end."""
_STATES = {"0": "active", "1": "abandoned", "2": "free"}


def parse(texts: Iterable[str]) -> dict[str, LeaseEntry]:
    """The leases of one or more files, the older first.  Lines that make no sense are passed over."""
    found: dict[str, LeaseEntry] = {}
    for text in texts:
        for row in csv.DictReader(io.StringIO(text)):
            try:
                lifetime, expire = int(row["valid_lifetime"]), int(row["expire"])
                if lifetime == 0:
                    found.pop(row["address"], None)
                    continue
                ends = NEVER if lifetime == LONGEST else expire
                starts = expire - lifetime if lifetime != LONGEST else 0
                state = _STATES.get(row["state"], "free")
                hostname = row["hostname"].replace("&#x2c", ",").rstrip(".") or None
                client_id = row["client_id"].replace(":", "") or None
                found[row["address"]] = LeaseEntry(
                    row["address"], row["hwaddr"].lower(), max(starts, 0), ends, state, hostname, client_id
                )
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
    return found


def render(leases: Iterable[LeaseEntry], subnet_ids: Mapping[str, int]) -> str:
    """A file with the active ones among these leases; `subnet_ids` by address."""
    lines = [",".join(HEAD)]
    for lease in leases:
        if lease.state != "active" or lease.address not in subnet_ids or not lease.mac:
            continue
        lifetime = LONGEST if lease.ends >= NEVER else max(lease.ends - lease.starts, 1)
        expire = LONGEST if lease.ends >= NEVER else lease.ends
        client_id = bytes.fromhex(lease.client_id).hex(":") if lease.client_id else ""
        hostname = (lease.hostname or "").replace(",", "&#x2c")
        words = (
            lease.address,
            lease.mac,
            client_id,
            lifetime,
            expire,
            subnet_ids[lease.address],
            0,
            0,
            hostname,
            0,
            "",
        )
        lines.append(",".join(map(str, words)))
    return "\n".join(lines) + "\n"
