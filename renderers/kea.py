"""What the configurations of Kea's two servers have in common: JSON that is dumped, with files included in it.

Hosts are records and not structure.  They are rows of the rack's hosts database where it has one (`hosts_db`); else each
subnet includes a file that the rack's record keeper writes.  Both ways Kea restarts into the same hosts with the control
plane down.  Kea's parser replaces ``<?include "path"?>`` wherever white
space may stand (Kea ARM, "JSON syntax"); the file may be empty, but it must exist.
"""

from __future__ import annotations

import json
import re
from typing import Any

from renderers.intent import RackIntent
from renderers.services import hosts_db

ENVIRONMENT = (
    ("KEA_LOCKFILE_DIR", "none"),
    ("KEA_PIDFILE_DIR", "{run}"),
    # Kea 3 writes nowhere else (Kea ARM, "Kea Security"); older ones do not ask.
    ("KEA_CONTROL_SOCKET_DIR", "{run}"),
    ("KEA_DHCP_DATA_DIR", "{state}"),
)
"""Where Kea keeps what is not named in its configuration, and may keep what is."""
RUN_MODE = 0o750
"""Kea 3 makes no socket in a directory that is open to others."""
_INCLUDE = re.compile(r'"\\u0000include ([^"\\]+)"')


def hosts_path(intent: RackIntent, service: str, subnet_id: int) -> str:
    """Path on the rack of the hosts of one subnet: comma separated objects without brackets, may be empty."""
    return intent.layout.state_path(service, f"hosts/{subnet_id}.json")


def reservations(intent: RackIntent, service: str, subnet_id: int) -> list[str]:
    """The hosts of one subnet: an included file, or nothing where they are in the hosts database."""
    return [] if hosts_db.wanted(intent) else [include(hosts_path(intent, service, subnet_id))]


def hosts_database(intent: RackIntent) -> dict[str, object]:
    """The part of a configuration that names the hosts database, empty where the rack has none."""
    return {"hosts-database": hosts_db.connection(intent)} if hosts_db.wanted(intent) else {}


def hooks(intent: RackIntent) -> list[dict[str, object]]:
    """The libraries of commands that this rack has found."""
    return [{"library": path} for path in (intent.layout.kea_lease_hook, intent.layout.kea_host_hook) if path]


def include(path: str) -> str:
    """A mark that no checked text can equal (it starts with a zero byte), turned into an include by `dump`."""
    if not re.fullmatch(r"/[A-Za-z0-9/._-]+", path):
        raise ValueError(f"{path!r}: Kea cannot include this path; use letters, digits, dots, dashes and slashes")
    return f"\0include {path}"


def dump(data: dict[str, object]) -> str:
    """A configuration as Kea reads it."""
    return _INCLUDE.sub(lambda match: f'<?include "{match.group(1)}"?>', json.dumps(data, indent=2)) + "\n"


def contents(text: str, top: str, subnets: str) -> frozenset[str]:
    """The subnets and pools of a dumped configuration, for people; `top` and `subnets` are Kea's names of the family."""
    data: dict[str, Any] = json.loads(re.sub(r"<\?include [^?]*\?>", "", text))[top]
    found = data[subnets] + [sub for network in data["shared-networks"] for sub in network[subnets]]
    return frozenset(
        name
        for subnet in found
        for name in (f"subnet {subnet['subnet']}", *(f"range {pool['pool']}" for pool in subnet["pools"]))
    )
