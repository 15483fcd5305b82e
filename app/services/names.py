"""DNS names: what a host is called, where its PTR record lives, which reverse zones a subnet needs.  Pure.

Names are absolute and in lower case, with the trailing dot.  Zone names have none, as `ZoneIntent.name` and the scopes
of records write them.
"""

from __future__ import annotations

import re

from app.services.addressing import parse_address
from app.services.errors import Invalid
from renderers.reverse import pointer_owner, reverse_zone_of, reverse_zones

__all__ = [
    "check_domain", "check_label", "fqdn", "interface_label", "pointer_owner", "reverse_name", "reverse_zone_of",
    "reverse_zones",
]  # fmt: skip

_NOT_OF_A_LABEL = re.compile(r"[^a-z0-9]+")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_label(text: str, what: str, field: str = "name") -> str:
    """The name in lower case, if it is one DNS label (RFC 1123, section 2.1); Invalid otherwise."""
    label = str(text).strip().lower()
    if not _LABEL.fullmatch(label):
        raise Invalid(
            f"{what} {text!r}: use 1 to 63 letters, digits and hyphens, not beginning or ending with a hyphen",
            field=field,
            rule="a DNS label",
        )
    return label


def check_domain(text: str, field: str = "name") -> str:
    """The domain in lower case without a trailing dot; Invalid when a label is wrong or the whole is too long."""
    name = str(text).strip().lower().removesuffix(".")
    if len(name) > 200:
        raise Invalid(f"domain {name[:40]}...: it has {len(name)} characters; use at most 200", field=field)
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise Invalid(
                f"domain {text!r}: the label {label!r} is wrong; use letters, digits and hyphens, as in lab.example.org",
                field=field,
                rule="a DNS name",
            )
    return name


def fqdn(hostname: str, domain: str) -> str:
    """`web1` and `lab.example` to `web1.lab.example.`."""
    return f"{hostname}.{domain}.".lower()


def interface_label(name: str) -> str:
    """An interface's name as one DNS label: `eth0.100` and `br_lan` become `eth0-100` and `br-lan`; `nic` if none is left."""
    label = _NOT_OF_A_LABEL.sub("-", name.strip().lower()).strip("-")[:63].rstrip("-")
    return label or "nic"


def reverse_name(address: str) -> str:
    """The owner of an address's PTR record (RFC 1035, section 3.5; RFC 3596, section 2.5)."""
    return parse_address(address).reverse_pointer + "."
