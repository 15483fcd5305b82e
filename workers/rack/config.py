"""What a rack host knows of itself: one file, `<root>/rack.json`, written by `muster-rack enrol` and read once.

It holds no token (those are in `<root>/secrets/`); it is 0600 all the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.broker import is_loopback
from renderers.intent import RackPorts
from workers.rack.files import write_atomically

FILE_NAME = "rack.json"
SUPERVISORS = ("auto", "systemd", "supervisord")
"""`auto`: see `workers.rack.supervision`."""


class ConfigError(Exception):
    """The rack's own configuration is missing or wrong; the text says what to do."""


@dataclass(frozen=True)
class RackConfig:
    """Identity and surroundings of one rack host.

    hosts_database: whether it may run a PostgreSQL for DHCP hosts.  supervisor: one of SUPERVISORS, what runs the daemons.
    broker_ca, broker_cert, broker_key: paths of PEM files for a Redis broker, where the CAs that the control plane names
    will not do, or Redis asks clients for a certificate.
    """

    root: Path
    control_plane: str
    rack_id: int
    name: str
    queue: str
    offer_public_key: str
    broker_url: str | None = None
    boot_files: str = "/usr/lib/ipxe"
    ports: RackPorts = field(default_factory=RackPorts)
    hosts_database: bool = True
    broker_ca: str | None = None
    broker_cert: str | None = None
    broker_key: str | None = None
    supervisor: str = "auto"

    @property
    def doorbell_path(self) -> Path:
        """Unix datagram socket: any datagram wakes the agent."""
        return self.root / "run" / "doorbell.sock"

    @property
    def supervisor_path(self) -> Path:
        """Unix socket of supervisord's XML-RPC."""
        return self.root / "run" / "supervisor.sock"

    @property
    def records_path(self) -> Path:
        """The rack's own store of records."""
        return self.root / "records.db"

    def save(self) -> None:
        """Write `rack.json`, atomically and readable by root only."""
        data = asdict(self)
        data["root"] = str(self.root)
        write_atomically(self.root / FILE_NAME, json.dumps(data, indent=1, sort_keys=True).encode(), mode=0o600)


def load_config(root: Path) -> RackConfig:
    """Read `<root>/rack.json`.  ConfigError if the host is not enrolled or the file is damaged."""
    path = root / FILE_NAME
    try:
        data: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist: enrol this host first with `muster-rack enrol --root {root}`"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); enrol the host again") from error
    try:
        known = {item.name for item in fields(RackConfig)}
        values = {name: value for name, value in data.items() if name in known}
        config = RackConfig(**{**values, "root": root, "ports": RackPorts(**data.get("ports", {}))})
    except TypeError as error:
        raise ConfigError(f"{path} is incomplete ({error}); enrol the host again") from error
    if config.supervisor not in SUPERVISORS:
        raise ConfigError(f"{path}: supervisor {config.supervisor!r} is unknown; write one of {', '.join(SUPERVISORS)}")
    return config


def check_control_plane_url(url: str, lab: bool) -> str:
    """The URL without a trailing slash.  ConfigError unless it is https, or http to this very host, or a lab."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            f"control plane {url!r} is not an http or https URL; give one like https://muster.example:5240 or"
            " https://[2001:db8::1]:5240"
        )
    if parts.username or parts.password:
        raise ConfigError("control plane URL: it must not hold a user or a password; racks log in with their own token")
    if parts.scheme == "http" and not lab and not is_loopback(str(parts.hostname)):
        raise ConfigError(
            f"control plane {url}: plain http would show the rack's token to the network; use https (or --lab in a lab)"
        )
    return url.rstrip("/")
