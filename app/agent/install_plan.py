"""
What an install does, as pure values: the task's layout checked, and the commands for it as lists of arguments.

Nothing here touches the machine. Everything that a task could get wrong is refused here, before a byte of the disk is
changed.
"""

import re
from dataclasses import dataclass
from typing import Any

from .disks import Disk, partition_path
from .errors import AgentError

TARGET = "/run/muster/target"
ROOM_MIB = 2048
_TABLE_MIB = 2
_MKFS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "-L"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "-L"),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], "-L"),
    "vfat": (["mkfs.vfat", "-F", "32"], "-n"),
    "swap": (["mkswap", "-f"], "-L"),
}
_FSTAB_OPTIONS = {"ext4": "errors=remount-ro", "vfat": "umask=0077", "swap": "sw"}
_LABEL_LIMIT = {"ext4": 16, "xfs": 12, "btrfs": 255, "vfat": 11, "swap": 15}
_TYPE = re.compile(r"[0-9a-fA-F]{4}")
_NAME = re.compile(r"[A-Za-z0-9 ._-]{1,36}")
_LABEL = re.compile(r"[A-Za-z0-9._-]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOUNT = re.compile(r"/([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?")
# A kernel option ends up in a file that a shell reads and in grub.cfg; nothing either would interpret may be in it.
_KERNEL_OPTIONS = re.compile(r"[A-Za-z0-9 _.,:=/@%+\[\]-]*")
BIOS_BOOT, ESP = "ef02", "ef00"


@dataclass(frozen=True)
class Partition:
    """One partition of the layout; `size_mib` None means the rest of the disk."""

    number: int
    name: str
    size_mib: int | None
    type: str
    filesystem: str | None
    mount: str | None
    label: str | None


@dataclass(frozen=True)
class Rootfs:
    """The archive to unpack. blake2b (256 bits) is checked where the task has it, because it costs less; sha256 else."""

    url: str
    sha256: str
    size_bytes: int
    blake2b: str | None = None


@dataclass(frozen=True)
class Install:
    """A checked install task."""

    path: str | None
    serial: str | None
    by_id: str | None
    partitions: tuple[Partition, ...]
    rootfs: Rootfs
    seed: dict[str, str]
    files: tuple[dict[str, str], ...]
    kernel_options: str


def _partition(raw: dict[str, Any]) -> Partition:
    part = Partition(
        number=int(raw["number"]),
        name=str(raw["name"]),
        size_mib=None if raw.get("size_mib") is None else int(raw["size_mib"]),
        type=str(raw["type"]).lower(),
        filesystem=raw.get("filesystem"),
        mount=raw.get("mount"),
        label=raw.get("label"),
    )
    where = f"install: partition {part.number} ({part.name})"
    if not 1 <= part.number <= 128 or not _NAME.fullmatch(part.name) or not _TYPE.fullmatch(part.type):
        raise AgentError(f"{where}: number, name or type {part.type!r} is not one that a GPT can have")
    if part.size_mib is not None and part.size_mib < 1:
        raise AgentError(f"{where}: size_mib is {part.size_mib}; give 1 or more, or null for the rest of the disk")
    if part.filesystem is not None and part.filesystem not in _MKFS:
        raise AgentError(f"{where}: filesystem {part.filesystem!r} is unknown; use one of {', '.join(_MKFS)}")
    if part.mount is not None and (part.filesystem in (None, "swap") or not _MOUNT.fullmatch(part.mount)):
        raise AgentError(f"{where}: it cannot be mounted at {part.mount!r} with filesystem {part.filesystem}")
    if part.mount is not None and ".." in part.mount.split("/"):
        raise AgentError(f"{where}: mount point {part.mount!r} must not have '..' in it")
    if part.label is not None and part.filesystem is not None:
        limit = _LABEL_LIMIT[part.filesystem]
        if not _LABEL.fullmatch(part.label) or len(part.label) > limit:
            raise AgentError(f"{where}: label {part.label!r} must be 1 to {limit} of A-Z a-z 0-9 . _ -")
    return part


def parse(raw: dict[str, Any] | None) -> Install:
    """Check a task's `install`; AgentError names what is wrong with it."""
    if not raw:
        raise AgentError("install: the task has no install section")
    try:
        return _parse(raw)
    except (KeyError, TypeError, ValueError) as error:
        raise AgentError(f"install: the task's install section lacks or misspells {error}") from error


def _parse(raw: dict[str, Any]) -> Install:
    storage, rootfs = raw["storage"], raw["rootfs"]
    if storage.get("layout") != "flat" or storage.get("table") != "gpt":
        raise AgentError(
            f"install: layout {storage.get('layout')!r} with table {storage.get('table')!r} is not known here;"
            " this agent does layout 'flat' with table 'gpt'"
        )
    partitions = tuple(_partition(entry) for entry in storage["partitions"])
    numbers = [part.number for part in partitions]
    if len(set(numbers)) != len(numbers):
        raise AgentError(f"install: partition numbers {numbers} repeat")
    if [part.size_mib for part in partitions[:-1]].count(None):
        raise AgentError("install: only the last partition may take the rest of the disk (size_mib null)")
    mounts = [part.mount for part in partitions if part.mount]
    if mounts.count("/") != 1 or len(set(mounts)) != len(mounts):
        raise AgentError(f"install: exactly one partition must be mounted at / and none twice; got {mounts}")
    if not {BIOS_BOOT, ESP} & {part.type for part in partitions}:
        raise AgentError("install: no partition of type ef02 (BIOS boot) or ef00 (EFI system), so nothing could boot")
    if rootfs["format"] != "tar.zst":
        raise AgentError(f"install: rootfs format {rootfs['format']!r} is not known here; this agent unpacks tar.zst")
    for name in ("sha256", "blake2b"):
        value = rootfs[name] if name == "sha256" else rootfs.get(name)
        if value is not None and not _DIGEST.fullmatch(value):
            raise AgentError(f"install: rootfs {name} {value!r} is not 64 lower-case hexadecimal digits")
    if not str(rootfs["url"]).startswith(("http://", "https://")) or int(rootfs["size_bytes"]) < 1:
        raise AgentError(f"install: rootfs {rootfs['url']!r} must be an http(s) address with a size_bytes above 0")
    options = str(raw.get("kernel_options") or "")
    if not _KERNEL_OPTIONS.fullmatch(options):
        raise AgentError(f"install: kernel_options {options!r} has a character that a shell or GRUB would interpret")
    disk = storage["disk"]
    return Install(
        path=disk.get("path"),
        serial=disk.get("serial"),
        by_id=disk.get("by_id"),
        partitions=partitions,
        rootfs=Rootfs(str(rootfs["url"]), rootfs["sha256"], int(rootfs["size_bytes"]), rootfs.get("blake2b")),
        seed={str(name): str(text) for name, text in (raw.get("seed") or {}).items()},
        files=tuple(raw.get("files") or ()),
        kernel_options=options,
    )


def needed_mib(partitions: tuple[Partition, ...]) -> int:
    """What a disk must hold, in MiB: the partitions with a size, the tables, and room for a partition without one."""
    sized = sum(part.size_mib or 0 for part in partitions)
    open_ended = any(part.size_mib is None for part in partitions)
    return sized + _TABLE_MIB + (ROOM_MIB if open_ended else 0)


def check_size(disk: Disk, partitions: tuple[Partition, ...]) -> None:
    """AgentError if the disk is too small for the layout."""
    have, need = disk.size_bytes // (1024 * 1024), needed_mib(partitions)
    if have < need:
        raise AgentError(
            f"install disk: {disk.describe()} is too small: the layout needs {need} MiB;"
            " choose a larger disk or a smaller layout"
        )


def partition_paths(disk: Disk, partitions: tuple[Partition, ...]) -> dict[int, str]:
    """The device of each partition by number."""
    return {part.number: partition_path(disk.path, part.number) for part in partitions}


def wipe(disk: Disk) -> list[list[str]]:
    """Remove signatures from the disk's old partitions and from the disk, so that nothing of them is found again."""
    old = [holder.path for holder in disk.holders if holder.kind == "part"]
    return [["wipefs", "--all", "--force", path] for path in (*old, disk.path)]


def partition(disk: Disk, partitions: tuple[Partition, ...]) -> list[list[str]]:
    """Write the new table in one go, aligned to 1 MiB."""
    command = ["sgdisk", "--clear", "--set-alignment=2048"]
    for part in partitions:
        end = "0" if part.size_mib is None else f"+{part.size_mib}M"
        command.append(f"--new={part.number}:0:{end}")
        command.append(f"--typecode={part.number}:{part.type}")
        command.append(f"--change-name={part.number}:{part.name}")
    return [[*command, disk.path]]


def make_filesystems(partitions: tuple[Partition, ...], paths: dict[int, str]) -> list[list[str]]:
    """The mkfs commands, after clearing what an earlier system may have left at the same place."""
    commands = []
    for part in partitions:
        if part.filesystem is None:
            continue
        base, label_option = _MKFS[part.filesystem]
        label = [label_option, part.label] if part.label else []
        commands.append(["wipefs", "--all", "--force", paths[part.number]])
        commands.append([*base, *label, paths[part.number]])
    return commands


def mounts(partitions: tuple[Partition, ...], paths: dict[int, str], target: str = TARGET) -> list[tuple[str, str]]:
    """(device, folder) in the order of mounting: / first, then by depth."""
    mounted = [part for part in partitions if part.mount]
    mounted.sort(key=lambda part: ((part.mount or "").rstrip("/").count("/"), part.mount or ""))
    return [(paths[part.number], target + (part.mount or "").rstrip("/")) for part in mounted]


def fstab(partitions: tuple[Partition, ...], uuids: dict[int, str]) -> str:
    """The text of /etc/fstab, by UUID; / is checked first, the others after it (fstab(5))."""
    lines = ["# Written by Muster at install time."]
    ordered = sorted(partitions, key=lambda part: ((part.mount or "~").rstrip("/").count("/"), part.mount or "~"))
    for part in ordered:
        if part.filesystem is None or (part.mount is None and part.filesystem != "swap"):
            continue
        options = _FSTAB_OPTIONS.get(part.filesystem, "defaults")
        check = 0 if part.filesystem in ("swap", "xfs", "btrfs") else 1 if part.mount == "/" else 2
        where = part.mount or "none"
        lines.append(f"UUID={uuids[part.number]} {where} {part.filesystem} {options} 0 {check}")
    return "\n".join(lines) + "\n"


def grub_defaults(kernel_options: str) -> str:
    """
    /etc/default/grub.d/muster.cfg: our kernel options, a short menu, and no search for other systems on the disks.

    The menu goes to the serial line too when the kernel's console does.
    """
    lines = [
        "# Written by Muster at install time.",
        'GRUB_CMDLINE_LINUX_DEFAULT=""',
        f'GRUB_CMDLINE_LINUX="{kernel_options.strip()}"',
        "GRUB_TIMEOUT=2",
        "GRUB_DISABLE_OS_PROBER=true",
    ]
    serial = re.search(r"(?:^|\s)console=ttyS(\d+)(?:,(\d+))?", kernel_options)
    if serial:
        lines.append('GRUB_TERMINAL="console serial"')
        lines.append(f'GRUB_SERIAL_COMMAND="serial --unit={serial.group(1)} --speed={serial.group(2) or 115200}"')
    return "\n".join(lines) + "\n"


def bootloaders(partitions: tuple[Partition, ...], disk_path: str) -> list[list[str]]:
    """
    The commands that run inside the target: GRUB for BIOS and for UEFI, where the layout has room for it.

    UEFI gets the removable path (EFI/BOOT/BOOTX64.EFI). GRUB's own entry in the firmware's NVRAM would come first, where the
    network boot belongs; `efi_boot` makes one that comes last.
    """
    types = {part.type for part in partitions}
    commands = []
    if BIOS_BOOT in types:
        commands.append(["grub-install", "--target=i386-pc", disk_path])
    if ESP in types:
        esp = next(part for part in partitions if part.type == ESP)
        commands.append(
            [
                "grub-install",
                "--target=x86_64-efi",
                f"--efi-directory={esp.mount or '/boot/efi'}",
                "--removable",
                "--no-nvram",
            ]
        )
    return commands
