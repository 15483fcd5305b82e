"""
GRUB's first menu on an installed disk, written as text.

`update-grub` asks the whole system dozens of questions to write what an installer knows already. The first update of a
kernel runs it all the same, with the options in /etc/default/grub.d/muster.cfg, and then the menu is Debian's own.
Commands are those of the GRUB manual, "Command-line and menu entry commands".
"""

import re

from .errors import AgentError
from .install_plan import Partition

PATH = "/boot/grub/grub.cfg"
TIMEOUT_SECONDS = 1
_MODULES = {"ext4": "ext2", "xfs": "xfs", "btrfs": "btrfs", "vfat": "fat"}
_UUID = re.compile(r"[0-9A-Fa-f-]{4,64}")
_VERSION = re.compile(r"[A-Za-z0-9.+~_-]+")


def menu(partitions: tuple[Partition, ...], uuids: dict[int, str], boot: list[str], kernel_options: str) -> str:
    """The text of grub.cfg: every kernel in /boot (the names `boot`), the newest first, on the file system of /boot."""
    mounted = {part.mount: part for part in partitions if part.mount}
    root, home = mounted["/"], mounted.get("/boot", mounted["/"])
    folder = "" if "/boot" in mounted else "/boot"
    for part in (root, home):
        if not _UUID.fullmatch(uuids.get(part.number, "")):
            raise AgentError(f"install: partition {part.number} has no UUID that GRUB can search for; format it again")
    lines = [
        "# Written by Muster at install time; update-grub, which runs with every new kernel, writes its own.",
        "set default=0",
        f"set timeout={TIMEOUT_SECONDS}",
        "insmod part_gpt",
        f"insmod {_MODULES.get(str(home.filesystem), 'ext2')}",
        f"search --no-floppy --fs-uuid --set=root {uuids[home.number]}",
    ]
    serial = re.search(r"(?:^|\s)console=ttyS(\d+)(?:,(\d+))?", kernel_options)
    if serial:
        lines.append(f"serial --unit={serial.group(1)} --speed={serial.group(2) or 115200}")
    terminals = "console serial" if serial else "console"
    lines += [f"terminal_input {terminals}", f"terminal_output {terminals}"]
    for version in sorted(_versions(boot), key=_natural, reverse=True):
        lines += [
            f"menuentry 'Debian GNU/Linux, {version}' --class debian --class gnu-linux --class os {{",
            f"\tlinux {folder}/vmlinuz-{version} root=UUID={uuids[root.number]} ro {kernel_options.strip()}".rstrip(),
            f"\tinitrd {folder}/initrd.img-{version}",
            "}",
        ]
    return "\n".join(lines) + "\n"


def _versions(boot: list[str]) -> list[str]:
    found = [name.removeprefix("vmlinuz-") for name in boot if name.startswith("vmlinuz-")]
    for version in found:
        if not _VERSION.fullmatch(version):
            raise AgentError(f"install: kernel {version!r} in /boot has a name that GRUB would not read; rename it")
    return found


def _natural(version: str) -> list[tuple[int, int | str]]:
    """Sort key in which 6.1.0-10 comes after 6.1.0-9."""
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]
