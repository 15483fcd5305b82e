"""dhcpd's file of leases and dynamic hosts, read and written (dhcpd.leases(5)).  Pure.

The file is a log: the last word on a lease or a host counts.  Times are UTC, `DAY YYYY/MM/DD HH:MM:SS`, or `never`, or
`epoch SECONDS`.  What is not understood is passed over, as dhcpd writes more than anybody needs.
"""

from __future__ import annotations

import calendar
import ipaddress
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NEVER = 1 << 62
"""The end of a lease without one."""
HOST_NAME, ASKED = "host-name", "dhcp-parameter-request-list"
_TOKEN = re.compile(r'\s+|#[^\n]*|"((?:[^"\\]|\\.)*)"|([{};])|([^\s"{};#]+)')
_HEX = re.compile(r"[0-9a-f]{1,2}(?::[0-9a-f]{1,2})*")
_TIME = re.compile(r"\d (\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)")


class _Quoted(str):
    """A word that stood in quotes, bytes as Latin-1."""

    __slots__ = ()


@dataclass(frozen=True)
class LeaseEntry:
    """One lease.  Times are seconds since 1970 (UTC); state: dhcpd's word, as in `active` or `free`."""

    address: str
    mac: str
    starts: int
    ends: int
    state: str
    hostname: str | None = None
    client_id: str | None = None


@dataclass(frozen=True)
class HostEntry:
    """One dynamic host, as OMAPI makes it."""

    name: str
    mac: str
    address: str
    hostname: str | None = None
    options: tuple[tuple[str, bytes], ...] = ()
    """What is told to it beyond its host name: dhcpd's names of options and their bytes, in the order of the file."""
    asked: bytes = b""
    """Codes of what is sent also when it does not ask."""


@dataclass(frozen=True)
class LeaseFile:
    """What the file says now."""

    leases: dict[str, LeaseEntry]
    hosts: dict[str, HostEntry]


def parse(text: str) -> LeaseFile:
    """Read a file; a last entry that is cut off is not there yet."""
    leases: dict[str, LeaseEntry] = {}
    hosts: dict[str, HostEntry] = {}
    for kind, name, statements in _blocks(text):
        if kind == "lease":
            entry = _lease(name, statements)
            if entry is not None:
                leases[entry.address] = entry
        elif kind == "host":
            hosts.pop(name, None)
            if ["deleted"] not in statements:
                host = _host(name, statements)
                if host is not None:
                    hosts[name] = host
    return LeaseFile(leases, hosts)


def render_lease(lease: LeaseEntry) -> str:
    """One lease as dhcpd reads it."""
    lines = [f"lease {lease.address} {{", f"  starts {_say_time(lease.starts)};", f"  ends {_say_time(lease.ends)};"]
    lines += [f"  binding state {lease.state};", "  next binding state free;"]
    if lease.mac:
        lines.append(f"  hardware ethernet {lease.mac};")
    if lease.client_id:
        lines.append(f"  uid {_quoted_bytes(bytes.fromhex(lease.client_id))};")
    if lease.hostname:
        lines.append(f'  client-hostname "{lease.hostname}";')
    return "\n".join([*lines, "}", ""])


def render_host(host: HostEntry) -> str:
    """One dynamic host as dhcpd reads it."""
    lines = [
        f"host {host.name} {{",
        "  dynamic;",
        f"  hardware ethernet {host.mac};",
        f"  fixed-address {host.address};",
    ]
    if host.hostname:
        lines.append(f'        supersede {HOST_NAME} = "{host.hostname}";')
    lines += [f"        supersede {name} = {data.hex(':')};" for name, data in host.options]
    if host.asked:
        lines.append(f"        supersede {ASKED} = concat (option {ASKED}, {host.asked.hex(':')});")
    return "\n".join([*lines, "}", ""])


def render_host_end(name: str) -> str:
    """The word that a dynamic host is gone."""
    return f"host {name} {{\n  dynamic;\n  deleted;\n}}\n"


def render(leases: Iterable[LeaseEntry], hosts: Iterable[HostEntry]) -> str:
    """A whole file."""
    return "".join([*map(render_host, hosts), *map(render_lease, leases)])


def _blocks(text: str) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Kind, name and statements of every closed block at the top; blocks inside are passed over."""
    place, depth = 0, 0
    words: list[str] = []
    head: list[str] = []
    statements: list[list[str]] = []
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            place += 1
            continue
        place = match.end()
        quoted, mark, word = match.groups()
        if mark == "{":
            depth += 1
            if depth == 1:
                head, statements = words, []
            words = []
        elif mark == "}":
            depth = max(depth - 1, 0)
            if depth == 0 and len(head) == 2:
                yield head[0], head[1], statements
            if depth == 0:
                head = []
            words = []
        elif mark == ";":
            if depth == 1:
                statements.append(words)
            words = []
        elif quoted is not None:
            words.append(_Quoted(_unquote(quoted)))
        elif word is not None:
            words.append(word)


def _lease(name: str, statements: list[list[str]]) -> LeaseEntry | None:
    try:
        address = str(ipaddress.IPv4Address(name))
    except ValueError:
        return None
    found = {
        " ".join(words[:-1]) if words[0] in ("binding", "next", "rewind") else words[0]: words
        for words in statements
        if words
    }
    mac = _mac(found)
    state = found.get("binding state", ["", "", "free"])[-1]
    hostname = found["client-hostname"][1] if len(found.get("client-hostname", ())) == 2 else None
    uid = found["uid"][1].encode("latin-1").hex() if len(found.get("uid", ())) == 2 else None
    return LeaseEntry(address, mac, _time(found.get("starts")), _time(found.get("ends")), state, hostname, uid or None)


def _host(name: str, statements: list[list[str]]) -> HostEntry | None:
    found = {words[0]: words for words in statements if words}
    told = {words[1]: words[3:] for words in statements if words[:1] == ["supersede"] and words[2:3] == ["="]}
    hostname = told.pop(HOST_NAME, None)
    asked = _bytes(_last(told.pop(ASKED, [])))
    address = found.get("fixed-address", ["", ""])[-1]
    try:
        options = tuple((option, _bytes(words)) for option, words in told.items())
        return HostEntry(
            name,
            _mac(found),
            str(ipaddress.IPv4Address(address)),
            hostname[0] if hostname else None,
            options,
            asked,
        )
    except ValueError:
        return None


def _last(words: list[str]) -> list[str]:
    """The last part of `concat (option NAME, BYTES)`; the bytes may go over several lines."""
    begin = next((at + 1 for at, word in enumerate(words) if word == f"{ASKED},"), len(words))
    return ["".join(words[begin:]).removesuffix(")")]


def _bytes(words: list[str]) -> bytes:
    """A value as dhcpd writes it: in quotes where every byte can be printed, else in hexadecimal over several lines.

    b"" for an expression, which is none of ours.  Unlike the ids of leases, what is in these quotes is not escaped
    (dhcpd 4.4.3), so a value that holds a quote or a backslash must not be there.
    """
    if len(words) == 1 and isinstance(words[0], _Quoted):
        return words[0].encode("latin-1")
    said = "".join(words)
    return bytes(int(part, 16) for part in said.split(":")) if _HEX.fullmatch(said) else b""


def _mac(found: dict[str, list[str]]) -> str:
    words = found.get("hardware", [])
    return words[2].lower() if len(words) == 3 and words[1] == "ethernet" else ""


def _time(words: list[str] | None) -> int:
    said = " ".join(words[1:]) if words else ""
    if said == "never":
        return NEVER
    if said.startswith("epoch ") and said[6:].isdigit():
        return int(said[6:])
    match = _TIME.fullmatch(said)
    return calendar.timegm((*map(int, match.groups()), 0, 0, 0)) if match else 0


def _say_time(seconds: int) -> str:
    if seconds >= NEVER:
        return "never"
    moment = time.gmtime(seconds)
    return f"{(moment.tm_wday + 1) % 7} {time.strftime('%Y/%m/%d %H:%M:%S', moment)}"


def _quoted_bytes(value: bytes) -> str:
    """dhcpd's quoting: printable characters as they are, others as three octal digits."""
    made = "".join(f"\\{byte:03o}" if byte < 32 or byte > 126 or byte in b'"\\' else chr(byte) for byte in value)
    return f'"{made}"'


def _unquote(inside: str) -> str:
    """The text of a quoted string, bytes as Latin-1."""

    def one(match: re.Match[str]) -> str:
        return chr(int(match[1], 8) & 255) if match[1] else match[2]

    return re.sub(r"\\(?:([0-7]{1,3})|(.))", one, inside, flags=re.DOTALL)
