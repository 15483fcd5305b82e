"""
The disks of a machine and what stands on them, from lsblk(8): pure parsing, naming and choosing.

A disk is something of lsblk's type `disk` with a size; loop devices, optical and floppy drives, RAM disks and network
block devices are not. Holders are what the kernel has assembled on top: partitions, md arrays, device-mapper volumes.
"""

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from .errors import AgentError
from .probe import Probe

LSBLK = ["lsblk", "-J", "-b", "-o", "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,ROTA,LOG-SEC,RO,MOUNTPOINTS"]
_BY_ID = "/dev/disk/by-id"
_NOT_DISKS = re.compile(r"(loop|ram|zram|sr|fd|nbd)\d+")
# Names that carry model and serial number come before opaque ones; udev makes several for one disk.
_PREFERENCE = ("virtio-", "nvme-", "ata-", "scsi-", "usb-")
_OPAQUE = re.compile(r"(nvme-eui\.|nvme-nvme\.|nvme-uuid\.|scsi-[0-9])")


@dataclass(frozen=True)
class Holder:
    """Something on a disk: `kind` is lsblk's type (part, lvm, crypt, raid1); `depth` counts up from 1 on the disk."""

    name: str
    path: str
    kind: str
    depth: int
    mounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Disk:
    """A disk. Sizes are in bytes; `holders` has everything on it, parents before children."""

    name: str
    path: str
    size_bytes: int
    by_id: str | None = None
    aliases: tuple[str, ...] = ()
    model: str | None = None
    serial: str | None = None
    rotational: bool = False
    block_size: int = 512
    read_only: bool = False
    mounts: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = field(default=())

    def describe(self) -> str:
        """How messages name a disk."""
        return f"{self.path} (serial {self.serial or 'unknown'}, {self.size_bytes // (1024 * 1024)} MiB)"


def partition_path(disk_path: str, number: int) -> str:
    """The kernel's name of a partition: /dev/vda1, but /dev/nvme0n1p1 where the disk's name ends in a digit."""
    return f"{disk_path}{'p' if disk_path[-1].isdigit() else ''}{number}"


def preferred_by_id(names: list[str]) -> str | None:
    """The name in /dev/disk/by-id to keep for a disk; None if there is none."""

    def rank(name: str) -> tuple[int, int, str]:
        place = next((i for i, prefix in enumerate(_PREFERENCE) if name.startswith(prefix)), len(_PREFERENCE))
        return (place + (100 if _OPAQUE.match(name) else 0), len(name), name)

    return f"{_BY_ID}/{min(names, key=rank)}" if names else None


def _mounts(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(mount for mount in entry.get("mountpoints") or [] if mount)


def _holders(entry: dict[str, Any], depth: int = 1) -> list[Holder]:
    found: list[Holder] = []
    for child in entry.get("children") or []:
        found.append(Holder(child["name"], child["path"], child["type"], depth, _mounts(child)))
        found.extend(_holders(child, depth + 1))
    return found


def _clean(value: Any) -> str | None:
    text = str(value).strip() if value is not None else ""
    return text or None


def parse(lsblk: str, by_id: dict[str, list[str]], serials: dict[str, str]) -> list[Disk]:
    """
    The disks in the output of LSBLK.

    `by_id` has the names in /dev/disk/by-id by kernel name; `serials` has sysfs's serial numbers by kernel name, for
    disks (virtio) whose serial lsblk does not know because udev has not seen them.
    """
    disks = []
    for entry in json.loads(lsblk).get("blockdevices", []):
        name, size = entry["name"], int(entry.get("size") or 0)
        if entry.get("type") != "disk" or _NOT_DISKS.fullmatch(name) or size <= 0:
            continue
        aliases = by_id.get(name, [])
        disks.append(
            Disk(
                name=name,
                path=entry["path"],
                size_bytes=size,
                by_id=preferred_by_id(aliases),
                aliases=tuple(f"{_BY_ID}/{alias}" for alias in aliases),
                model=_clean(entry.get("model")),
                serial=_clean(entry.get("serial")) or _clean(serials.get(name)),
                rotational=bool(entry.get("rota")),
                block_size=int(entry.get("log-sec") or 512),
                read_only=bool(entry.get("ro")),
                mounts=_mounts(entry),
                holders=tuple(_holders(entry)),
            )
        )
    return disks


def read(probe: Probe) -> list[Disk]:
    """The disks of this machine, in the kernel's order."""
    text = probe.run(LSBLK)
    by_id: dict[str, list[str]] = {}
    for alias in probe.names(_BY_ID):
        by_id.setdefault(os.path.basename(probe.target(f"{_BY_ID}/{alias}") or alias), []).append(alias)
    serials = {
        name: probe.read(f"/sys/block/{name}/serial") or probe.read(f"/sys/block/{name}/device/serial") or ""
        for name in probe.names("/sys/block")
    }
    return parse(text, by_id, serials)


def choose(disks: list[Disk], path: str | None, serial: str | None, by_id: str | None) -> Disk:
    """
    The disk that an install names: by its stable name or serial number if it has one, else by its path.

    Names that contradict each other, or a serial number that nothing has, are refused rather than guessed: the path
    of a disk may change between boots, and the wrong disk would be overwritten.
    """
    seen = "; ".join(disk.describe() for disk in disks) or "no disk at all"
    if by_id or serial:
        wanted = " and ".join(filter(None, (by_id and f"by-id name {by_id}", serial and f"serial {serial}")))
        found = [
            disk
            for disk in disks
            if (by_id is None or by_id in disk.aliases or (not disk.aliases and serial))
            and serial in (None, disk.serial)
        ]
        if len(found) > 1:
            found = [disk for disk in found if disk.path == path] or found
    else:
        wanted = f"path {path}"
        found = [disk for disk in disks if disk.path == path]
    if not found:
        raise AgentError(f"install disk: no disk with {wanted}; this machine has {seen}; commission it again")
    if len(found) > 1:
        paths = ", ".join(disk.path for disk in found)
        raise AgentError(f"install disk: {wanted} fits several disks ({paths}); name one by its by-id name")
    if found[0].read_only:
        raise AgentError(f"install disk: {found[0].describe()} is read-only; lift its write protection")
    return found[0]


def stop_holders(disk: Disk) -> list[list[str]]:
    """The commands that take apart what stands on a disk, the topmost first; the kernel's own partitions need none."""
    commands: list[list[str]] = []
    for holder in sorted(disk.holders, key=lambda holder: -holder.depth):
        if holder.kind == "part" and not holder.path.startswith("/dev/mapper/"):
            continue
        is_array = holder.kind.startswith(("raid", "md", "linear"))
        command = ["mdadm", "--stop", holder.path] if is_array else ["dmsetup", "remove", "--retry", holder.path]
        if command not in commands:
            commands.append(command)
    return commands


def mounts_of(disk: Disk) -> list[str]:
    """Where the disk or anything on it is mounted, or [SWAP], deepest folders first."""
    found = {*disk.mounts, *(mount for holder in disk.holders for mount in holder.mounts)}
    return sorted(found, key=lambda mount: (-mount.count("/"), mount))
