"""URLs that people type: of package mirrors and proxies.  Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from app.services.errors import Invalid
from renderers import text


def check(value: str, field: str = "url") -> str:
    """An http or https URL without user name, query and fragment; IPv6 addresses stand in brackets. Invalid otherwise."""
    try:
        checked = text.url(value.strip())
        parts = urlsplit(checked)
        if parts.query or not parts.hostname:
            raise ValueError("it has a query, or no host")
        if parts.port == 0:
            raise ValueError("port 0 is none")
        if "[" in parts.netloc:
            ipaddress.IPv6Address(parts.hostname)
        else:
            text.host(parts.hostname)
    except ValueError as error:
        raise Invalid(
            f"URL {value[:200]!r}: {error}; write it like http://mirror.example.org/debian or http://[2001:db8::7]/debian",
            field=field,
            rule="an http or https URL without user name, query and fragment",
        ) from error
    return checked.rstrip("/")
