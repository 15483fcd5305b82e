"""Kernel options that people set for all machines: for the ephemeral system and for what is installed.

A value is `{"options": ["hugepages=64", ...]}`, each option one word of the command line (bootparam(7)).  What Muster
itself says there is not set by hand.  A machine keeps what was set when it was installed, in /etc/default/grub.d.
"""

from __future__ import annotations

import re
from typing import Any

from renderers.boot.ipxe import OPTION

SETTING = "kernel_options"
DEFAULTS: dict[str, Any] = {"options": []}
CONSOLE = "console=ttyS0,115200"
"""The console of a machine for which people name none."""
LONGEST = 512
"""Characters of all options together; the kernel of x86 takes 2048 with what Muster says (setup.h, COMMAND_LINE_SIZE)."""
_OURS = re.compile(r"(BOOTIF|boot|init|initrd|ip|rdinit|ro|root|rw|muster\.[^=]*)(=.*)?")


def checked(value: dict[str, Any]) -> dict[str, Any]:
    """The value as it is stored. ValueError says what is wrong with it, and what to write."""
    options = value.get("options")
    if set(value) != {"options"} or not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        raise ValueError('must be {"options": ["...", "..."]}')
    for one in options:
        if not OPTION.fullmatch(one):
            raise ValueError(f"{one!r} is no single word of letters, digits and ._,:=/+@-; name each option by itself")
        if _OURS.fullmatch(one):
            raise ValueError(f"{one!r} is what Muster tells the kernel itself; leave it out")
    if len(" ".join(options)) > LONGEST:
        raise ValueError(f"the options have more than {LONGEST} characters together; name fewer")
    return {"options": options}


def installed(value: dict[str, Any]) -> str:
    """The command line of an installed system, but for its root."""
    options = [str(one) for one in value["options"]]
    return " ".join(options if any(one.startswith("console=") for one in options) else [CONSOLE, *options])
