"""Makes a host a rack: its keys are made here, its tokens and the control plane's key come from the enrolment code."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from app.broker import Tls
from renderers.intent import RackPorts
from workers.rack.broker import tls_path
from workers.rack.client import ControlPlane
from workers.rack.config import FILE_NAME, ConfigError, RackConfig, check_control_plane_url
from workers.rack.observe import found_here, interfaces
from workers.rack.secret_files import RACK_TOKEN, RELAY_TOKEN, SecretFiles

PUBLIC_KEY_BYTES = 32


def enrol(
    root: Path,
    url: str,
    code: str,
    name: str | None,
    boot_files: str,
    ports: RackPorts,
    lab: bool,
    again: bool,
    hosts_database: bool = True,
    broker: Tls | None = None,
    supervisor: str = "auto",
) -> RackConfig:
    """Spend the code; the rack's configuration, which is on disk then with the secrets.

    ConfigError for what is wrong here, ControlPlaneRefused for a wrong, used or expired code, ControlPlaneDown.
    """
    base = check_control_plane_url(url, lab)
    if not root.is_absolute():
        raise ConfigError(f"root {root}: give an absolute path, daemons are started from elsewhere")
    if (root / FILE_NAME).exists() and not again:
        raise ConfigError(f"{root / FILE_NAME} exists: this host is a rack already; use --again to enrol it anew")
    if not code:
        raise ConfigError("the enrolment code is empty: get one with `muster rack code`")
    files = broker or Tls()
    ca = tls_path("--broker-ca", files.ca)
    cert, key = tls_path("--broker-cert", files.cert), tls_path("--broker-key", files.key)
    if (cert is None) != (key is None):
        raise ConfigError("--broker-cert and --broker-key: give both or neither")
    _make_directories(root)
    secrets = SecretFiles(root)
    secrets.make_missing()
    answer = ControlPlane(base, None).enrol(
        {
            "code": code,
            "name": name,
            "layout": {"root": str(root), "boot_files": boot_files, **found_here(hosts_database, base)},
            "ports": asdict(ports),
            "interfaces": interfaces(),
            "version": _version(),
        }
    )
    config = replace(
        _config(root, base, answer, boot_files, ports),
        hosts_database=hosts_database,
        broker_ca=ca,
        broker_cert=cert,
        broker_key=key,
        supervisor=supervisor,
    )
    secrets.write(RACK_TOKEN, str(answer["token"]))
    secrets.write(RELAY_TOKEN, str(answer["relay_token"]))
    config.save()
    return config


def _config(root: Path, url: str, answer: dict[str, Any], boot_files: str, ports: RackPorts) -> RackConfig:
    try:
        key = str(answer["offer_public_key"])
        if len(base64.b64decode(key, validate=True)) != PUBLIC_KEY_BYTES:
            raise ValueError(f"the offer key has not {PUBLIC_KEY_BYTES} bytes")
        if not answer["token"] or not answer["relay_token"]:
            raise ValueError("a token is missing")
        return RackConfig(
            root=root,
            control_plane=url,
            rack_id=int(answer["rack"]["id"]),
            name=str(answer["rack"]["name"]),
            queue=str(answer["queue"]),
            offer_public_key=key,
            broker_url=str(answer["broker_url"]) if answer.get("broker_url") else None,
            boot_files=boot_files,
            ports=ports,
        )
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ConfigError(f"the control plane's answer to the enrolment makes no sense: {error!r}") from error


def _make_directories(root: Path) -> None:
    """Daemons that drop to users of their own must be able to pass the root; only secrets are closed."""
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    for name in ("run", "log", "units", "offers", "services"):
        (root / name).mkdir(exist_ok=True)
    for name in ("units", "offers"):
        (root / name).chmod(0o700)


def _version() -> str:
    try:
        return metadata.version("muster")
    except metadata.PackageNotFoundError:
        return "unknown"
