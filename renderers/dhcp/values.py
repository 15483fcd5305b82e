"""Values of DHCP options: from the words that people write to the bytes on the wire.

One encoder for each kind.  It takes the rest of the line and raises ValueError with what is wrong and what to write.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from types import MappingProxyType

from renderers import text
from renderers.dhcp.routes import encode as encode_routes
from renderers.intent import RouteIntent

_HEX = re.compile(r"0x((?:[0-9A-Fa-f]{2})+)|([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)")


def parts(value: str) -> list[str]:
    """Values between commas or blanks."""
    found = [part for part in re.split(r"[,\s]+", value.strip()) if part]
    if not found:
        raise ValueError("there is no value; write one after the name")
    return found


def _one(value: str) -> str:
    found = parts(value)
    if len(found) != 1:
        raise ValueError(f"{len(found)} values; it takes one")
    return found[0]


def _addresses(value: str, version: int) -> list[bytes]:
    made = []
    for part in parts(value):
        try:
            parsed = ipaddress.ip_address(part)
        except ValueError:
            parsed = None
        if parsed is None or parsed.version != version:
            raise ValueError(f"{part!r} is no IPv{version} address; write addresses with commas between them")
        made.append(parsed.packed)
    return made


def _number(low: int, high: int, size: int) -> Callable[[str], bytes]:
    def encode(value: str) -> bytes:
        return b"".join(_whole(part, low, high).to_bytes(size, signed=low < 0) for part in [_one(value)])

    return encode


def _numbers(value: str) -> bytes:
    return b"".join(_whole(part, 0, 65535).to_bytes(2) for part in parts(value))


def _whole(part: str, low: int, high: int) -> int:
    if not re.fullmatch(r"-?[0-9]{1,10}", part) or not low <= int(part) <= high:
        raise ValueError(f"{part!r} is no whole number from {low} to {high}")
    return int(part)


def _flag(value: str) -> bytes:
    word = _one(value).lower()
    if word not in ("on", "off", "true", "false"):
        raise ValueError(f"{word!r} is neither on nor off")
    return bytes([word in ("on", "true")])


def _text(value: str) -> bytes:
    said = value.strip()
    if said.startswith('"') or said.endswith('"'):
        if len(said) < 2 or not (said.startswith('"') and said.endswith('"')):
            raise ValueError("a quote is not closed; put quotes on both sides or on none")
        said = said[1:-1]
    if not said:
        raise ValueError("there is no value; write one after the name")
    return text.plain(said).encode()


def _name(value: str) -> bytes:
    """RFC 1035, section 3.1, without compression."""
    return _wire_name(_one(value))


def _names(value: str) -> bytes:
    return b"".join(_wire_name(part) for part in parts(value))


def _wire_name(name: str) -> bytes:
    labels = text.domain(name).split(".")
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def _pairs(value: str) -> bytes:
    found = _addresses(value, 4)
    if len(found) % 2:
        raise ValueError("it takes pairs of addresses: destination and mask, or destination and router")
    return b"".join(found)


def _routes(value: str) -> bytes:
    """`10.0.0.0/8 via 10.1.1.1`, with commas between routes."""
    routes = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\S+)\s+via\s+(\S+)\s*", part)
        if match is None:
            raise ValueError(f"{part.strip()!r} is no route; write 10.0.0.0/8 via 10.1.1.1, with commas between routes")
        if ":" in part:
            raise ValueError(f"{part.strip()!r}: this option has IPv4 routes only")
        routes.append(RouteIntent(text.network(match[1]), text.address(match[2])))
    return encode_routes(routes)


def octets(value: str) -> bytes:
    """`0x0a0b` or `0a:0b`."""
    match = _HEX.fullmatch(_one(value))
    if match is None:
        raise ValueError(f"{value.strip()!r} are no bytes; write 0x0a14 or 0a:14")
    return bytes.fromhex(match[1] or match[2].replace(":", ""))


ENCODERS: MappingProxyType[str, Callable[[str], bytes]] = MappingProxyType(
    {
        "ip": lambda value: _addresses(_one(value), 4)[0],
        "ips": lambda value: b"".join(_addresses(value, 4)),
        "ip6s": lambda value: b"".join(_addresses(value, 6)),
        "int32": _number(-(1 << 31), (1 << 31) - 1, 4),
        "uint8": _number(0, 255, 1),
        "uint16": _number(0, 65535, 2),
        "uint32": _number(0, (1 << 32) - 1, 4),
        "uint16s": _numbers,
        "flag": _flag,
        "text": _text,
        "name": _name,
        "names": _names,
        "pairs": _pairs,
        "routes": _routes,
        "bytes": octets,
    }
)
WORDS = MappingProxyType(
    {
        "ip": "an IPv4 address",
        "ips": "IPv4 addresses",
        "ip6s": "IPv6 addresses",
        "int32": "a whole number",
        "uint8": "a number from 0 to 255",
        "uint16": "a number from 0 to 65535",
        "uint32": "a number from 0 to 4294967295",
        "uint16s": "numbers from 0 to 65535",
        "flag": "on or off",
        "text": "text",
        "name": "a domain name",
        "names": "domain names",
        "pairs": "pairs of IPv4 addresses",
        "routes": "routes (10.0.0.0/8 via 10.1.1.1)",
        "bytes": "bytes (0x0a14)",
    }
)
"""What each kind takes, for people."""
