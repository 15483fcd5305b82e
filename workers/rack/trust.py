"""Which certificate authorities this host believes when it speaks to the control plane.

The host's own store, not the one that Python's libraries bring along: an operator's own authority is put there once
(`update-ca-certificates(8)`) and holds for the agent and for squid alike.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import certifi

STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""Of Debian and of Red Hat."""


def authorities() -> str:
    """Path of the file of authorities."""
    return next((path for path in STORES if Path(path).is_file()), certifi.where())


def authorities_for(url: str) -> str:
    """The same where the control plane is reached by https; empty where it is not."""
    return authorities() if urlsplit(url).scheme == "https" else ""
