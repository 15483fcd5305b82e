"""Text for daemons: a strict Jinja environment over templates/, and one quoting filter per file format.

A filter returns a token that stands for exactly the value it was given, or raises ValueError naming the value and the
rule; it never mends a value.  Control characters and line ends are refused everywhere, so that no value can begin a new
directive.  References to secrets (``@secret:name@``) pass as they are; the rack substitutes them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
DNS_LABEL = re.compile(r"[a-z0-9_/]([a-z0-9_/-]{0,61}[a-z0-9_/])?")
"""Lower case; `/` is for classless reverse zones (RFC 2317)."""
URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:@/%?-]*)?")
BARE = re.compile(r"[A-Za-z0-9@%+=:,./_\[\]-]+")
"""Words that need no quotes in squid, dnsmasq, chrony and radvd files."""
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
"""Narrower than the kernel (IFNAMSIZ is 16 bytes with the final zero), wide enough for every name in use."""


def plain(value: object) -> str:
    """Return the value as text of printable ASCII. ValueError otherwise: no daemon's file needs more from us."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{value!r}: only text and whole numbers can be written into a configuration file")
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r}: control characters, line ends and characters beyond ASCII cannot be written here")
    return text


def named(value: object) -> str:
    """Quote a string for named.conf; its grammar has escapes for the quote and the backslash, we refuse both."""
    text = plain(value)
    if '"' in text or "\\" in text:
        raise ValueError(f"{text!r}: a quote or a backslash cannot be written into named.conf")
    return f'"{text}"'


def _word(value: object, file_format: str) -> str:
    text = plain(value)
    if not BARE.fullmatch(text):
        raise ValueError(f"{text!r}: cannot be one word of {file_format}; allowed are letters, digits and @%+=:,./_[]-")
    return text


def squid(value: object) -> str:
    """Return one word of squid.conf: no blank, quote or `#`; `%` is refused because header formats expand it."""
    text = _word(value, "squid.conf")
    if "%" in text or text.startswith("-"):
        raise ValueError(f"{text!r}: a word of squid.conf may not hold `%` or start with `-`")
    return text


def postgres(value: object) -> str:
    """Return the inside of a quoted string of postgresql.conf; a quote or a backslash is refused."""
    text = plain(value)
    if "'" in text or "\\" in text:
        raise ValueError(f"{text!r}: a quote or a backslash cannot be written into postgresql.conf")
    return text


def dnsmasq(value: object) -> str:
    """Return one value of dnsmasq.conf: a comma would begin the next value (dnsmasq(8)), so it is refused too."""
    text = _word(value, "dnsmasq.conf")
    if "," in text:
        raise ValueError(f"{text!r}: a comma separates values in dnsmasq.conf")
    return text


def chrony(value: object) -> str:
    """Return one word of chrony.conf; comments begin with `!;#%` at the start of a line, words are split at blanks."""
    text = _word(value, "chrony.conf")
    if text.startswith("%"):
        raise ValueError(f"{text!r}: would begin a comment of chrony.conf")
    return text


def radvd(value: object) -> str:
    """Return one word of radvd.conf."""
    return _word(value, "radvd.conf")


def rsyslog(value: object) -> str:
    """Return the inside of a quoted string of rsyslog.conf: one word; `%` would begin a property in some places."""
    text = _word(value, "rsyslog.conf")
    if "%" in text:
        raise ValueError(f"{text!r}: `%` cannot be written into rsyslog.conf")
    return text


def acl(value: object) -> str:
    """Return a network as rsyslog's lists of senders have it: IPv6 in brackets (rsyslog.conf, $AllowedSender)."""
    address, _, length = network(value).partition("/")
    return f"[{address}]/{length}" if ":" in address else f"{address}/{length}"


def ipxe(value: object) -> str:
    """Return one word of an iPXE script: blanks would split it, and `$`, quotes and backslashes would change it."""
    text = plain(value)
    if not re.fullmatch(r"[A-Za-z0-9._~!*(),;=:@/%?&+\[\]-]+", text) or "&&" in text or "||" in text:
        raise ValueError(f"{text!r}: cannot be one word of an iPXE script; percent-encode it or choose another value")
    return text


def address(value: object) -> str:
    """Return an IP address. ValueError if it is none or not in canonical form."""
    text = plain(value)
    parsed = str(ipaddress.ip_address(text))
    if parsed != text:
        raise ValueError(f"{text!r}: not in canonical form; write {parsed}")
    return text


def network(value: object) -> str:
    """Return a network as address/length. ValueError if it is none or has host bits."""
    text = plain(value)
    parsed = str(ipaddress.ip_network(text))
    if parsed != text:
        raise ValueError(f"{text!r}: not in canonical form; write {parsed}")
    return text


def interface(value: object) -> str:
    """Return the name of a network interface."""
    text = plain(value)
    if not INTERFACE.fullmatch(text):
        raise ValueError(f"{text!r}: no interface name; at most 15 letters, digits, dots, dashes and underscores")
    return text


def host(value: object) -> str:
    """Return an address or a host name (RFC 1123, underscores tolerated). ValueError otherwise."""
    text = plain(value)
    try:
        return address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        if len(text) > 253 or not all(HOST_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
            raise ValueError(f"{text!r}: neither an address nor a host name") from None
    return text


def domain(value: object) -> str:
    """Return a lower-case domain name without its final dot. ValueError otherwise; the root is no domain here."""
    text = plain(value).removesuffix(".")
    if len(text) > 253 or not all(DNS_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError(f"{value!r}: no domain name; use lower-case labels of letters, digits, dashes and underscores")
    return text


def port(value: object) -> str:
    """Return a port number. ValueError outside 1 to 65535."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError(f"{value!r}: no port number; 1 to 65535")
    return str(value)


def url(value: object) -> str:
    """Return an http or https URL in ASCII. ValueError otherwise; user names and fragments are refused."""
    text = plain(value)
    if not URL.fullmatch(text):
        raise ValueError(f"{text!r}: no http or https URL of plain characters; percent-encode the rest")
    return text


def bracketed(value: object) -> str:
    """Return an address or host name as URLs and `address:port` pairs write it: IPv6 in brackets."""
    text = host(value)
    return f"[{text}]" if ":" in text else text


FILTERS: dict[str, Callable[[object], str]] = {
    check.__name__: check
    for check in (named, squid, postgres, dnsmasq, chrony, radvd, rsyslog, acl, ipxe, address, network, interface, host,
                  domain, port, url, bracketed)
}  # fmt: skip


def _finalize(value: object) -> object:
    """Refuse what Jinja would print silently: None, and text with line ends that no filter has seen."""
    if value is None:
        raise ValueError("a template would print None; guard the value with {% if %}")
    return plain(value)


@cache
def environment() -> jinja2.Environment:
    """Return the environment: unknown names are errors, nothing is auto-escaped, every printed value is checked.

    There is one, which compiles a template at its first use: templates, like code, are those that the process began with.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - these are not HTML pages; the filters quote
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
        auto_reload=False,
    )
    made.filters.update(FILTERS)
    return made


def fill(template: str, **values: Any) -> str:
    """Render templates/<template>. ValueError names the template and what could not be written."""
    try:
        return environment().get_template(template).render(**values)
    except ValueError as error:
        raise ValueError(f"{template}: {error}") from error
