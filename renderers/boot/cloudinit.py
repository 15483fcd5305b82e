"""The NoCloud seed of one installed machine: meta-data, user-data, vendor-data and network-config.

The operator's user data stays as it was written: one piece is passed on byte for byte, several become one multi-part
MIME text whose parts are each one piece.  What Muster wants (name, keys, time, proxy) is vendor-data, which cloud-init lets
user data overrule.  The keys are in the meta-data as well: cloud-init adds those to the default user even if the
operator's own cloud-config brings a list of keys, so nobody locks Muster's key holders out by accident.
Documents are dumped as JSON, which is YAML.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass

from renderers import text
from renderers.boot import netplan

PART_TYPES = (
    ("#cloud-config-archive", "text/cloud-config-archive"),
    ("#cloud-config", "text/cloud-config"),
    ("#cloud-boothook", "text/cloud-boothook"),
    ("#include", "text/x-include-url"),
    ("## template: jinja", "text/jinja2"),
    ("#!", "text/x-shellscript"),
)
"""First words of user data and their MIME types (cloud-init's documentation, "User data formats"); first match wins."""
SSH_KEY = re.compile(r"(ssh-(ed25519|rsa|dss)|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [ -~]*)?")


@dataclass(frozen=True)
class SeedIntent:
    """What one installed machine is told at its first boot.

    instance_id: a new value makes cloud-init run everything again, so it must change with each deployment.
    proxy: URL of the package proxy; None means no proxy.
    user_data: the operator's pieces, in order.
    """

    instance_id: str
    hostname: str
    domain: str
    nics: tuple[netplan.Nic, ...]
    ssh_keys: tuple[str, ...] = ()
    ntp_servers: tuple[str, ...] = ()
    proxy: str | None = None
    user_data: tuple[str, ...] = ()


def seed(intent: SeedIntent) -> dict[str, str]:
    """Return the four files of the seed by name. ValueError names what cannot be told to a machine."""
    return {
        "meta-data": meta_data(intent),
        "user-data": user_data(intent.user_data),
        "vendor-data": vendor_data(intent),
        "network-config": netplan.dump(intent.nics),
    }


def meta_data(intent: SeedIntent) -> str:
    """Who the machine is."""
    made = {
        "instance-id": text.plain(intent.instance_id),
        "local-hostname": _hostname(intent),
        "public-keys": [_ssh_key(key) for key in intent.ssh_keys],
    }
    return json.dumps(made, indent=2) + "\n"


def vendor_data(intent: SeedIntent) -> str:
    """Muster's settings as a cloud-config."""
    name = _hostname(intent)
    made: dict[str, object] = {
        "hostname": name,
        "fqdn": f"{name}.{text.domain(intent.domain)}" if intent.domain else name,
        "prefer_fqdn_over_hostname": False,
        "manage_etc_hosts": "localhost",
        "ssh_authorized_keys": [_ssh_key(key) for key in intent.ssh_keys],
        "ssh_pwauth": False,
        "disable_root": True,
    }
    if intent.ntp_servers:
        made["ntp"] = {"enabled": True, "servers": [text.host(server) for server in intent.ntp_servers]}
    # cloud-init writes sources of its own where it is not told to leave them; those of the image, or ours, stay.
    made["apt"] = {"preserve_sources_list": True}
    if intent.proxy is not None:
        made["apt"] = {"proxy": text.url(intent.proxy), "preserve_sources_list": True}
    return "#cloud-config\n" + json.dumps(made, indent=2) + "\n"


def user_data(pieces: tuple[str, ...]) -> str:
    """Return the operator's user data as one text. ValueError says which piece cloud-init would not understand."""
    pieces = tuple(piece for piece in pieces if piece.strip())
    if not pieces:
        return "#cloud-config\n{}\n"
    if len(pieces) == 1 and _is_mime(pieces[0]):
        return pieces[0]
    types = [_type_of(number, piece) for number, piece in enumerate(pieces, 1)]
    if len(pieces) == 1:
        return pieces[0]
    # Derived from the contents, so that equal pieces give equal text; base64 never holds `_`, so it cannot occur.
    boundary = "=_" + hashlib.sha256("\0".join(pieces).encode()).hexdigest()[:32]
    lines = ["MIME-Version: 1.0", f'Content-Type: multipart/mixed; boundary="{boundary}"', ""]
    for number, (piece, kind) in enumerate(zip(pieces, types, strict=True), 1):
        encoded = base64.encodebytes(piece.encode()).decode().rstrip("\n")
        lines += [
            f"--{boundary}",
            f'Content-Type: {kind}; charset="utf-8"',
            "Content-Transfer-Encoding: base64",
            f'Content-Disposition: attachment; filename="part-{number:03}"',
            "",
            encoded,
        ]
    return "\n".join([*lines, f"--{boundary}--", ""])


def _is_mime(piece: str) -> bool:
    return piece.lower().startswith(("content-type: multipart/", "mime-version:"))


def _type_of(number: int, piece: str) -> str:
    for start, kind in PART_TYPES:
        if piece.startswith(start):
            return kind
    known = ", ".join(start for start, _ in PART_TYPES)
    raise ValueError(
        f"user data, piece {number}: begins with {piece[:30]!r}, which cloud-init ignores; begin with one of: {known}"
    )


def _hostname(intent: SeedIntent) -> str:
    label = text.host(intent.hostname)
    if "." in label or ":" in label or "_" in label or len(label) > 63:
        raise ValueError(f"host name {label!r}: must be one label of at most 63 letters, digits and dashes")
    return label


def _ssh_key(key: str) -> str:
    if not SSH_KEY.fullmatch(key.strip()):
        raise ValueError(f"SSH key {key[:40]!r}: no public key of one line; write type, base64 and comment")
    return key.strip()
