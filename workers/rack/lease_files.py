"""Where DHCPv4 servers write their leases down, and what stands there."""

from __future__ import annotations

from pathlib import Path

from workers.rack import dhcpd_leases, kea_leases
from workers.rack.dhcpd_leases import LeaseEntry
from workers.rack.files import ServiceDirectories

DHCPD_FILE, KEA_FILE = "dhcpd.leases", "kea-leases4.csv"


def read_leases(service: str, directories: ServiceDirectories) -> dict[str, LeaseEntry]:
    """The leases that a server has written down, by address."""
    if service == "dhcpd":
        path = directories.state / DHCPD_FILE
        return dhcpd_leases.parse(path.read_text(encoding="latin-1") if path.exists() else "").leases
    return kea_leases.parse(path.read_text(errors="replace") for path in kea_files(directories))


def kea_files(directories: ServiceDirectories) -> list[Path]:
    """Kea's files, the older first: what its cleaner has finished, or what that was given, then the log itself."""
    base = directories.state / KEA_FILE
    finished = base.with_name(f"{KEA_FILE}.completed")
    older = [finished] if finished.exists() else [base.with_name(f"{KEA_FILE}.{number}") for number in (2, 1)]
    return [path for path in (*older, base) if path.exists()]
