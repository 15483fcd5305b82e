"""Options that people set: lines of `NAME VALUE`, checked by name and kind, and the same for every DHCP server.

A blank line and one that begins with `#` say nothing.  A name without `dhcp6.` is DHCPv4's.  `option-CODE` sets a code
that has no name, to bytes.  What goes over what, from the weakest: Muster's own, global, VLAN, subnet, range, machine; in
one scope a later snippet and a later line go over an earlier one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from renderers import text
from renderers.dhcp.catalogue import BOOTING, CATALOGUE, OWNED, PREFIX6
from renderers.dhcp.values import ENCODERS, octets
from renderers.intent import SnippetIntent

LONGEST_VALUE = 255
"""Bytes: one option of DHCPv4 holds no more (RFC 2132, section 2)."""
NARROW_SCOPES = ("range", "machine")
_LINE = re.compile(r"(\S+)(?:\s+(.*))?")
_NUMBERED = re.compile(r"(dhcp6\.)?option-([0-9]{1,5})")


class BodyError(ValueError):
    """What is wrong with a snippet's body. line: which line of it, from 1; None when it is about the whole."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence if line is None else f"line {line}: {sentence}")
        self.line = line


@dataclass(frozen=True)
class Option:
    """One option. value: as it was written; data: its bytes on the wire. Two that say the same to clients are equal."""

    family: int
    code: int
    name: str = field(compare=False)
    value: str = field(compare=False)
    data: bytes


def parse(body: str, scope: str) -> tuple[Option, ...]:
    """The options of a body in order. BodyError names the line."""
    found = []
    for number, line in enumerate(body.splitlines(), 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        try:
            found.append(parse_line(said, scope))
        except ValueError as error:
            raise BodyError(str(error), number) from error
    return tuple(found)


def parse_line(line: str, scope: str) -> Option:
    """One option. ValueError says what is wrong with it."""
    match = _LINE.fullmatch(text.plain(line.expandtabs(1)))
    if match is None:
        raise ValueError(f"{line!r}: write NAME VALUE")
    name, value = match[1].lower(), (match[2] or "").strip()
    if "<?" in value or "@secret:" in value:
        # Kea's file says the value in a comment too, and a rendered file has files and secrets put in by such marks.
        raise ValueError(f"{name}: `<?` and references to secrets cannot be in a value; write bytes with option-CODE")
    numbered = _NUMBERED.fullmatch(name)
    encode: Callable[[str], bytes]
    if numbered is not None:
        family, code = 6 if numbered[1] else 4, int(numbered[2])
        if code > (65535 if family == 6 else 255):
            raise ValueError(f"{name}: there is no such code")
        encode = octets
    elif name in CATALOGUE:
        entry = CATALOGUE[name]
        family, code, encode = entry.family, entry.code, ENCODERS[entry.kind]
    else:
        raise ValueError(f"{name}: no such option{_nearest(name)}; one without a name is written option-CODE 0x0a14")
    refuse_owned(name, family, code, scope)
    try:
        data = encode(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if len(data) > LONGEST_VALUE:
        raise ValueError(f"{name}: {len(data)} bytes; an option holds {LONGEST_VALUE}")
    return Option(family, code, name, value, data)


def of_bytes(family: int, code: int, data: bytes) -> Option:
    """An option that is known by its bytes only, as it is read back from a server."""
    return Option(family, code, f"{PREFIX6 if family == 6 else ''}option-{code}", f"0x{data.hex()}", data)


def refuse_owned(name: str, family: int, code: int, scope: str) -> None:
    """ValueError for an option that people do not set in this scope."""
    owned = OWNED[family].get(code)
    if owned is not None:
        raise ValueError(f"{name} (option {code}) is not set by hand: {owned}")
    if code in BOOTING[family] and scope not in NARROW_SCOPES:
        raise ValueError(
            f"{name} (option {code}) names the boot file, which Muster does for whole networks; set it for a range or a"
            " machine, or switch the architecture off in the subnet"
        )


def of_snippets(snippets: Iterable[SnippetIntent], scope: str, family: int) -> tuple[Option, ...]:
    """The options of one family that the snippets of one scope set, each code once. BodyError names snippet and line."""
    found: dict[int, Option] = {}
    for snippet in snippets:
        if snippet.kind == "option":
            try:
                options = parse(snippet.body, scope)
            except BodyError as error:
                raise BodyError(f"snippet {snippet.name}: {error}") from error
            found |= {option.code: option for option in options if option.family == family}
    return tuple(found.values())


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, CATALOGUE, 1)
    if not near and not name.startswith(PREFIX6):
        near = difflib.get_close_matches(PREFIX6 + name, CATALOGUE, 1)
    return f" (do you mean {near[0]}?)" if near else ""
