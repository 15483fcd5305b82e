"""
What the kernel command line says: where the control plane is, this run's token, and which interface booted.

The format is the kernel's (Documentation/admin-guide/kernel-parameters.rst): words separated by blanks, `key=value` or
a bare flag; double quotes keep blanks together. The last value of a repeated key wins, except for `console`, which we
do not read.
"""

import re
import shlex
from dataclasses import dataclass, field

from .errors import AgentError

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class BootParameters:
    """The part of the command line that the agent uses. The token stays out of the representation."""

    url: str
    token: str = field(repr=False)
    boot_mac: str | None = None
    hostname: str | None = None


def split(text: str) -> dict[str, str]:
    """The words of a command line by key; a flag without `=` has the value ''."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.quotes = '"'
    lexer.escape = ""
    lexer.commenters = ""
    words: dict[str, str] = {}
    for word in lexer:
        key, _, value = word.partition("=")
        words[key] = value
    return words


def boot_mac(value: str) -> str | None:
    """
    The MAC address in a BOOTIF value, lower case with colons; None if there is none.

    PXELINUX's form is the ARP hardware type and the address, `01-aa-bb-cc-dd-ee-ff`; a bare address is taken too.
    """
    text = value.strip().lower().replace("-", ":")
    if text.count(":") == 6:
        text = text.split(":", 1)[1]
    return text if _MAC.fullmatch(text) else None


def parse(text: str) -> BootParameters:
    """Read /proc/cmdline's text; AgentError when the address of the control plane or the token is missing."""
    words = split(text)
    for key, meaning in (("muster.url", "the address of the control plane"), ("muster.token", "this run's token")):
        if not words.get(key):
            raise AgentError(
                f"kernel command line: {key} ({meaning}) is missing; boot this machine through its rack's boot script"
            )
    url = words["muster.url"].rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise AgentError(f"kernel command line: muster.url is {url!r}, which is not an http:// or https:// address")
    # ip=<client>:<server>:<gateway>:<netmask>:<hostname>:... (Documentation/admin-guide/nfs/nfsroot.rst)
    address = words.get("ip", "").split(":")
    hostname = address[4] if len(address) > 4 and address[4] else None
    return BootParameters(url, words["muster.token"], boot_mac(words.get("BOOTIF", "")), hostname)
