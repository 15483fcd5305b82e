"""The layout of a machine's disk: facts about its disks in, the installer's `storage` document out.

`flat` boots by BIOS and by UEFI alike: a BIOS boot partition for GRUB, an EFI system partition, and one root file
system over the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 1024 * 1024
BIOS_GRUB_MIB = 1
ESP_MIB = 512
GPT_MIB = 2
"""Room for both copies of the partition table and for aligning partitions to 1 MiB."""
ROOT_MINIMUM_MIB = 2048
"""As much as the installer insists on (`app/agent/install_plan.py`), so that a refusal comes before the boot."""


@dataclass(frozen=True)
class DiskFact:
    """One disk as commissioning found it."""

    name: str
    path: str
    size_bytes: int
    serial: str | None = None
    by_id: str | None = None


def flat(
    disks: tuple[DiskFact, ...], disk_name: str | None = None, root_minimum_mib: int = ROOT_MINIMUM_MIB
) -> dict[str, object]:
    """Return the flat layout on the named disk, else on the first in the order of names (vda, vdb, ... vdaa).

    root_minimum_mib: what the image needs unpacked, with room to work.  ValueError says in numbers why no disk will do.
    """
    disk = _choose(disks, disk_name)
    needed = GPT_MIB + BIOS_GRUB_MIB + ESP_MIB + max(root_minimum_mib, ROOT_MINIMUM_MIB)
    if disk.size_bytes < needed * MIB:
        raise ValueError(
            f"disk {disk.name} ({disk.path}): has {disk.size_bytes // MIB} MiB, the flat layout needs {needed} MiB;"
            " choose a larger disk or a smaller image"
        )
    return {
        "layout": "flat",
        "disk": {"path": disk.path, "serial": disk.serial, "by_id": disk.by_id},
        "table": "gpt",
        "partitions": [
            _partition(1, "bios_grub", BIOS_GRUB_MIB, "ef02", None, None, None),
            _partition(2, "esp", ESP_MIB, "ef00", "vfat", "/boot/efi", "ESP"),
            _partition(3, "root", None, "8300", "ext4", "/", "muster-root"),
        ],
    }


def _choose(disks: tuple[DiskFact, ...], name: str | None) -> DiskFact:
    if not disks:
        raise ValueError("storage: the machine has no disk; commission it again or add one")
    if name is None:
        return min(disks, key=_natural)
    for disk in disks:
        if disk.name == name:
            return disk
    raise ValueError(f"disk {name!r}: the machine has none of this name; it has {', '.join(d.name for d in disks)}")


def _natural(disk: DiskFact) -> tuple[str, int, str]:
    """Order vdb before vdaa and nvme2n1 before nvme10n1: by stem, then length, then name."""
    return (re.sub(r"(?<=[a-z]{2})[a-z]+$|\d+", "", disk.name), len(disk.name), disk.name)


def _partition(
    number: int,
    name: str,
    size_mib: int | None,
    kind: str,
    filesystem: str | None,
    mount: str | None,
    label: str | None,
) -> dict[str, object]:
    return {
        "number": number,
        "name": name,
        "size_mib": size_mib,
        "type": kind,
        "filesystem": filesystem,
        "mount": mount,
        "label": label,
    }
