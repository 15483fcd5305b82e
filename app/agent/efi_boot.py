r"""
The UEFI boot entry of an installed disk, as its last resort: after the network, never before it.

GRUB stands at the removable path (\EFI\BOOT\BOOTX64.EFI), which much firmware finds by itself; but firmware need not look
for it on a fixed disk (UEFI 2.10, section 3.5.1), so an entry names it. A new entry that came first would keep later
network boots from happening, so it is created outside of the boot order and put at its end. Where the firmware's variables
cannot be written, the removable path is all there is, and that is said, not a failure. See efibootmgr(8).
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .disks import Disk
from .install_plan import ESP, Partition
from .runner import Completed, run

LABEL = "Muster disk"
LOADER = r"\EFI\BOOT\BOOTX64.EFI"
VARIABLES = "/sys/firmware/efi/efivars"
_ENTRY = re.compile(r"^Boot([0-9A-Fa-f]{4})[* ] ([^\t\n]*)", re.MULTILINE)
_ORDER = re.compile(r"^BootOrder: ([0-9A-Fa-f,]+)", re.MULTILINE)

Run = Callable[[Sequence[str]], Completed]


@dataclass(frozen=True)
class Entries:
    """What the firmware knows to boot: numbers in the order tried, and the label of every number."""

    order: tuple[str, ...]
    labels: dict[str, str]

    def ours(self) -> list[str]:
        """The numbers of the entries that an install made."""
        return [number for number, label in self.labels.items() if label == LABEL]


def parse(text: str) -> Entries:
    """The output of `efibootmgr`; later versions put a tab and the device path behind the label."""
    order = _ORDER.search(text)
    labels = {number: label.strip() for number, label in _ENTRY.findall(text)}
    return Entries(tuple(order.group(1).split(",")) if order else (), labels)


def create(disk_path: str, partitions: tuple[Partition, ...]) -> list[str]:
    """The command that makes our entry without touching the boot order."""
    esp = next(part for part in partitions if part.type == ESP)
    where = ["--disk", disk_path, "--part", str(esp.number)]
    return ["efibootmgr", "--quiet", "--create-only", *where, "--label", LABEL, "--loader", LOADER]


def put_last(entries: Entries) -> list[str]:
    """The command that puts our entries behind all others."""
    others = [number for number in entries.order if number not in entries.ours()]
    return ["efibootmgr", "--quiet", "--bootorder", ",".join([*others, *entries.ours()])]


def forget(entries: Entries) -> list[list[str]]:
    """The commands that remove what earlier installs left."""
    return [["efibootmgr", "--quiet", "--delete-bootnum", "--bootnum", number] for number in entries.ours()]


def register(disk: Disk, partitions: tuple[Partition, ...], runner: Run = run, variables: str = VARIABLES) -> str:
    """Make the disk's entry, last in the boot order; the sentence for the console. Never fails an install."""
    if ESP not in {part.type for part in partitions} or not os.path.isdir(variables):
        return "no boot entry is made: there are no UEFI variables here, or no ESP"
    for command in [*forget(parse(runner(["efibootmgr"]).text)), create(disk.path, partitions)]:
        done = runner(command)
        if not done.ok:
            return f"the firmware keeps no boot entry ({done.complaint()}); GRUB is at the removable path only"
    entries = parse(runner(["efibootmgr"]).text)
    done = runner(put_last(entries))
    if not done.ok:
        return f"boot entry {', '.join(entries.ours())} is in no boot order ({done.complaint()})"
    order = parse(runner(["efibootmgr"]).text).order
    return f"boot entry {', '.join(entries.ours())} ({LABEL}) in the firmware's order {', '.join(order)}"
