"""Options and snippets in the form of ISC dhcpd (dhcpd.conf(5), dhcp-options(5)).

An option is written as `option NAME = BYTES;`, which dhcpd takes for an option of any kind.  One that dhcpd has no name
for is defined first, at the top of the file, as `option muster-CODE code CODE = string;`.
A snippet is dhcpd's own text.  It may hold statements, conditions and option definitions; Muster keeps the structure
(networks, pools, hosts, keys) and what reaches the rack's files and programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from renderers.dhcp.catalogue import CATALOGUE
from renderers.dhcp.catalogue import OWNED as OWNED_CODES
from renderers.dhcp.options import BodyError, Option, of_bytes
from renderers.intent import SnippetIntent

LONGEST_BODY = 65_536
LAST_CODE = 254
OWNED = frozenset(
    {
        *(
            "subnet",
            "subnet6",
            "shared-network",
            "pool",
            "pool6",
            "range",
            "range6",
            "prefix6",
            "host",
            "fixed-address",
        ),
        *(
            "fixed-address6",
            "hardware",
            "interface",
            "group",
            "key",
            "zone",
            "primary",
            "failover",
            "peer",
            "server-identifier",
        ),
        *("include", "execute", "lease-file-name", "dhcpv6-lease-file-name", "pid-file-name", "dhcpv6-pid-file-name"),
        *("lease-id-format", "server-duid", "omapi-port", "omapi-key", "local-port", "remote-port", "local-address"),
        *("local-address6", "bind-local-address6", "log-facility", "ddns-update-style", "ddns-local-address4"),
        *("ddns-local-address6", "ldap-server", "delayed-ack", "max-ack-delay", "parse-vendor-option", "eval"),
    }
)
"""First words of statements that a snippet may not have; `execute` and `include` nowhere."""
_TOKEN = re.compile(r'\s+|#[^\n]*|"(?:[^"\\\n]|\\.)*"|[{};]|[^\s"{};#]+')
_MADE = re.compile(r"muster-([0-9]{1,3})")
_ANYWHERE = frozenset({"include", "execute"})


def known_name(option: Option) -> str:
    """The name by which dhcpd knows the option, empty if it has none."""
    entry = next((one for one in CATALOGUE.values() if (one.family, one.code) == (option.family, option.code)), None)
    return entry.dhcpd if entry is not None else ""


def definitions(options: Iterable[Option]) -> list[str]:
    """Definitions of the options that dhcpd has no name for, each once, for the top of the file."""
    wanted = sorted({(option.family, option.code) for option in options if not known_name(option)})
    return [f"option {_made_name(family, code)} code {code} = string;" for family, code in wanted]


def all_definitions() -> list[str]:
    """Definitions of every DHCPv4 option that people may set and dhcpd has no name for.

    A machine's options come by OMAPI while dhcpd runs, which then refuses a name that its file has not defined.  Where
    dhcpd has a name of its own that Muster does not use, both are good.
    """
    return definitions(of_bytes(4, code, b"") for code in range(1, LAST_CODE + 1) if code not in OWNED_CODES[4])


def name_of(option: Option) -> str:
    """The name by which Muster sets an option: dhcpd's own, else one that Muster defines."""
    return known_name(option) or _made_name(option.family, option.code)


def code_of(name: str) -> int | None:
    """The code of the DHCPv4 option that `name_of` calls so; None for any other name."""
    if found := _MADE.fullmatch(name):
        return int(found[1])
    return next((one.code for one in CATALOGUE.values() if one.family == 4 and one.dhcpd == name), None)


def unsayable(option: Option) -> str:
    """Why dhcpd cannot keep an option in its file of leases, empty if it can.

    It writes a value of printable bytes in quotes and escapes nothing (4.4.3), so that it could not read the file again.
    """
    if all(32 <= byte < 127 for byte in option.data) and set(option.data) & set(b'"\\'):
        return (
            f"{option.name} {option.value}: dhcpd cannot keep a quote or a backslash in a machine's option; leave it out, or"
            " set it for the range or subnet"
        )
    return ""


def statement(option: Option) -> str:
    """The statement that sets an option."""
    return f"option {name_of(option)} = {option.data.hex(':')};"


def sent(codes: Iterable[int]) -> list[str]:
    """The statement that has options sent to clients that do not ask for them, instead of those that wider scopes send.

    It cannot add to a wider scope's: with `config-option` of the list itself dhcpd 4.4.3 ends in the middle of an answer.
    """
    words = ":".join(f"{code:02x}" for code in dict.fromkeys(codes))
    asked = "option dhcp-parameter-request-list"
    return [f"{asked} = concat({asked}, {words});"] if words else []


def text(snippets: Iterable[SnippetIntent]) -> list[str]:
    """The lines that the dhcpd snippets of one scope add to it, each snippet under its name. BodyError names the snippet."""
    lines: list[str] = []
    for snippet in snippets:
        if snippet.kind == "dhcpd":
            try:
                check(snippet.body)
            except BodyError as error:
                raise BodyError(f"snippet {snippet.name}: {error}") from error
            lines += [f"# snippet {snippet.snippet_id}", *snippet.body.rstrip().splitlines()]
    return lines


def check(body: str) -> None:
    """BodyError for text that could leave its scope, or that says what is Muster's."""
    if len(body) > LONGEST_BODY:
        raise BodyError(f"{len(body)} characters; a snippet holds {LONGEST_BODY}")
    place, depth, line, begins = 0, 0, 1, True
    while place < len(body):
        match = _TOKEN.match(body, place)
        if match is None:
            raise BodyError("a quote is not closed on its line", line)
        piece = match[0]
        place = match.end()
        if "@secret:" in piece:
            raise BodyError(f"{piece!r}: references to secrets cannot be here, nor in a remark", line)
        if not piece.isspace() and not piece.startswith("#"):
            if not piece.isascii() or not piece.isprintable():
                raise BodyError(f"{piece!r}: characters beyond ASCII cannot be here", line)
            word = piece.lower().partition("(")[0]
            if word in _ANYWHERE or (begins and word in OWNED):
                raise BodyError(f"{word} is Muster's own or not for snippets; take it out", line)
            depth += (piece == "{") - (piece == "}")
            if depth < 0:
                raise BodyError("this } closes more than the snippet has opened", line)
            begins = piece in "{};"
        line += piece.count("\n")
    if depth:
        raise BodyError(f"{depth} block{'s are' if depth > 1 else ' is'} not closed; add }}", line)
    if not begins:
        raise BodyError("the last statement does not end; add ;", line)


def _made_name(family: int, code: int) -> str:
    return f"{'dhcp6.' if family == 6 else ''}muster-{code}"
