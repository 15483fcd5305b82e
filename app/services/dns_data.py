"""DNS names and data as people write them, in the one form that is stored, served and compared.  Pure.

Names are relative to their domain (`@` is the domain itself) or absolute with a final dot; data is in presentation form
(RFC 1035, section 5.1), names in it absolute.  A target with dots and no final dot is refused: zone files take it as
relative to the domain, and hardly anybody means that.
"""

from __future__ import annotations

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from app.services.errors import Invalid

TYPES = ("A", "AAAA", "CNAME", "MX", "NS", "SRV", "SSHFP", "TXT")
TARGETED = ("CNAME", "MX", "NS", "SRV")
NAME_OF_APEX = "@"
LONGEST_NAME, LONGEST_DATA = 253, 4000
_EXAMPLES = {
    "A": "192.0.2.10",
    "AAAA": "2001:db8::10",
    "CNAME": "web1.example.org.",
    "MX": "10 mail.example.org.",
    "NS": "ns1.example.org.",
    "SRV": "0 5 389 ldap.example.org.",
    "SSHFP": "4 2 <64 hexadecimal digits>",
    "TXT": '"v=spf1 -all"',
}


def relative_name(text: str, domain: str, field: str = "name") -> str:
    """The name relative to the domain, in lower case, with odd characters escaped. Invalid names what is wrong."""
    origin = dns.name.from_text(domain)
    try:
        name = dns.name.from_text(text.strip() or NAME_OF_APEX, origin).canonicalize()
    except (dns.exception.DNSException, UnicodeError) as error:
        raise Invalid(
            f"name {text[:80]!r} is no DNS name: {error}; labels have 1 to 63 octets, odd characters are written \\DDD",
            field=field,
            rule="a DNS name (RFC 1035, section 2.3.4)",
        ) from error
    if not name.is_subdomain(origin):
        raise Invalid(
            f"name {text!r} is not in domain {domain}; write it relative to the domain, as in www, or add that domain",
            field=field,
            rule="a record lies in its domain",
        )
    shown = name.relativize(origin).to_text()
    if len(shown) > LONGEST_NAME:
        raise Invalid(f"name {shown[:40]}... has {len(shown)} characters; use at most {LONGEST_NAME}", field=field)
    return shown


def owner_of(name: str, domain: str) -> str:
    """The absolute owner, with the trailing dot, of a name in the form of `relative_name`."""
    return f"{domain}." if name == NAME_OF_APEX else f"{name}.{domain}."


def canonical_data(kind: str, text: str, domain: str, field: str = "data") -> str:
    """Data in the form that answers have. Invalid names what is wrong and shows an example."""
    origin = dns.name.from_text(domain)
    words = _quoted(text) if kind == "TXT" else text.strip()
    try:
        if not words.isprintable():
            raise ValueError("it holds line ends or control characters")
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), words, origin, relativize=False)
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        raise Invalid(
            f"{kind} data {text[:80]!r}: {error or type(error).__name__}; write it like {_EXAMPLES[kind]}",
            field=field,
            rule=f"data of a {kind} record",
        ) from error
    if kind in TARGETED:
        target = words.split()[-1]
        if target != NAME_OF_APEX and "." in target and not target.endswith("."):
            raise Invalid(
                f"{kind} data {text[:80]!r}: {target} could mean {target}. or {target}.{domain}.; end the name with a dot",
                field=field,
                rule="names with dots end with a dot",
                remedy=f"write {target}. or {target}.{domain}.",
            )
    shown = rdata.to_text() if kind not in TARGETED else _lower_target(rdata)
    if len(shown) > LONGEST_DATA:
        raise Invalid(f"{kind} data has {len(shown)} characters; use at most {LONGEST_DATA}", field=field)
    return shown


def target_of(kind: str, data: str) -> str | None:
    """The absolute name that canonical data points to; None for types that point nowhere."""
    return data.split()[-1] if kind in TARGETED else None


def _lower_target(rdata: dns.rdata.Rdata) -> str:
    """Names are compared without case (RFC 4343), so they are stored in one."""
    *numbers, target = rdata.to_text().split(" ")
    return " ".join([*numbers, dns.name.from_text(target).canonicalize().to_text()])


def _quoted(text: str) -> str:
    """TXT data: character strings in quotes as they are; anything else is one text, cut into strings of 255 octets."""
    if text.lstrip().startswith('"'):
        return text.strip()
    octets = text.encode()
    parts = [octets[begin : begin + 255] for begin in range(0, len(octets), 255)] or [b""]
    return " ".join(f'"{_escaped(part)}"' for part in parts)


def _escaped(octets: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in b'"\\' else chr(octet) if 32 <= octet < 127 else f"\\{octet:03d}"
        for octet in octets
    )
