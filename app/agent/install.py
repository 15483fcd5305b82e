"""
Installing: partition, make filesystems, unpack, configure, make bootable, unmount.

The order is such that a disk is never bootable by accident: the bootloader comes after the digest of the archive has
been checked. Everything that was mounted is unmounted again, in reverse order, after a failure too; so a second run
on the same disk begins where the first one began. Nothing rebuilds the initramfs: the archive's own is generic.
"""

import os
import re
from collections.abc import Callable
from typing import Any

from . import disks, download, efi_boot, grub_menu, install_plan, target_files
from .disks import Disk
from .edge import Edge
from .errors import AgentError
from .install_plan import TARGET, Install, Partition
from .probe import Probe
from .progress import Progress
from .runner import Completed, check, run, say

_BIND = (("/dev", "/dev"), ("/proc", "/proc"), ("/sys", "/sys"))
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_UNMOUNT_TRIES = 5

Runner = Callable[..., Completed]


def release(disk: Disk) -> None:
    """Unmount and take apart whatever holds the disk; refused if the running system stands on it."""
    for mount in disks.mounts_of(disk):
        if mount in ("/", "/usr", "/boot"):
            raise AgentError(f"disk {disk.describe()}: the running system is on it ({mount}); it cannot be changed now")
        command = ["swapoff", "--all"] if mount == "[SWAP]" else ["umount", "--recursive", mount]
        check(command, f"disk {disk.path}")
    for command in disks.stop_holders(disk):
        check(command, f"disk {disk.path}")


class Mounts:
    """Mounts made, to be undone in reverse; a context manager."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._folders: list[str] = []

    def add(self, arguments: list[str], folder: str) -> None:
        """`mount ARGUMENTS FOLDER`."""
        os.makedirs(folder, exist_ok=True)
        check(["mount", *arguments, folder], self._subject, log=False)
        self._folders.append(folder)

    def __enter__(self) -> "Mounts":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stuck = [folder for folder in reversed(self._folders) if not self._unmount(folder)]
        self._folders.clear()
        if stuck:
            message = f"{self._subject}: could not unmount {', '.join(stuck)}; what was written may be incomplete"
            say(message)
            if kind is None:
                raise AgentError(message)

    def _unmount(self, folder: str) -> bool:
        for _ in range(_UNMOUNT_TRIES):
            if run(["umount", folder], 120).ok:
                return True
            run(["sleep", "1"])
        # Detach at least, so that a later run is not in its own way.
        run(["umount", "--lazy", folder], 60)
        return False


def prepare_disk(disk: Disk, partitions: tuple[Partition, ...], paths: dict[int, str]) -> None:
    """Wipe, partition and make filesystems; afterwards every partition's device is there."""
    subject = f"disk {disk.path}"
    for command in install_plan.wipe(disk) + install_plan.partition(disk, partitions):
        check(command, subject)
    # sgdisk has asked the kernel to read the table again; udev makes the nodes.
    run(["udevadm", "settle", "--timeout=20"], 30)
    missing = [path for path in paths.values() if not os.path.exists(path)]
    if missing:
        check(["blockdev", "--rereadpt", disk.path], subject)
        run(["udevadm", "settle", "--timeout=20"], 30)
        missing = [path for path in missing if not os.path.exists(path)]
    if missing:
        raise AgentError(f"{subject}: partitioned, but {', '.join(missing)} did not appear")
    for command in install_plan.make_filesystems(partitions, paths):
        check(command, subject)


def read_uuids(partitions: tuple[Partition, ...], paths: dict[int, str]) -> dict[int, str]:
    """The UUID of each filesystem by partition number, read from the disk itself."""
    return {
        part.number: check(
            ["blkid", "--probe", "--output", "value", "--match-tag", "UUID", paths[part.number]],
            f"disk {paths[part.number]}",
            log=False,
        ).text.strip()
        for part in partitions
        if part.filesystem
    }


def configure(plan: Install, hostname: str, uuids: dict[int, str], target: str = TARGET) -> None:
    """Write what makes the unpacked archive this machine's system."""
    target_files.write(target, "/etc/fstab", install_plan.fstab(plan.partitions, uuids))
    if hostname:
        if not _HOSTNAME.fullmatch(hostname):
            raise AgentError(f"install: hostname {hostname!r} is not a host name (RFC 1123: letters, digits, hyphens)")
        target_files.write(target, "/etc/hostname", hostname + "\n")
    target_files.write(target, "/etc/default/grub.d/muster.cfg", install_plan.grub_defaults(plan.kernel_options))
    target_files.write_seed(target, plan.seed)
    target_files.write_files(target, plan.files)


def check_kernels(boot: list[str]) -> None:
    """AgentError unless every kernel in /boot has its initramfs: without one the system could not find its disk."""
    versions = [name.removeprefix("vmlinuz-") for name in boot if name.startswith("vmlinuz-")]
    if not versions:
        raise AgentError("install: the unpacked system has no kernel (/boot/vmlinuz-*); build the image with one")
    for version in versions:
        if f"initrd.img-{version}" not in boot:
            raise AgentError(f"install: /boot has vmlinuz-{version} but no initrd.img-{version}; build the image again")


def make_bootable(disk: Disk, plan: Install, uuids: dict[int, str], mounts: Mounts, target: str = TARGET) -> None:
    """Install GRUB from inside the target; the menu is ours until the first update of a kernel writes Debian's."""
    boot = os.listdir(f"{target}/boot")
    check_kernels(boot)
    for source, folder in _BIND:
        mounts.add(["--bind", source], target + folder)
    for command in install_plan.bootloaders(plan.partitions, disk.path):
        check(["chroot", target, *command], f"disk {disk.path}")
    target_files.write(target, grub_menu.PATH, grub_menu.menu(plan.partitions, uuids, boot, plan.kernel_options))


def fill(
    plan: Install, hostname: str, paths: dict[int, str], mounts: Mounts, progress: Progress, target: str = TARGET
) -> dict[int, str]:
    """Mount the new filesystems, unpack the archive into them and configure it; the filesystems' UUIDs by partition."""
    uuids = read_uuids(plan.partitions, paths)
    for device, folder in install_plan.mounts(plan.partitions, paths, target):
        mounts.add([device], folder)
    size = plan.rootfs.size_bytes
    progress.step("rootfs", f"downloading and unpacking {size // (1024 * 1024)} MiB")

    def on_bytes(count: int) -> None:
        progress.at("rootfs", f"{count // (1024 * 1024)} of {size // (1024 * 1024)} MiB", count / size)

    download.unpack(plan.rootfs, target, on_bytes)
    progress.step("configure", "writing fstab, seed and files")
    configure(plan, hostname, uuids, target)
    return uuids


def install(edge: Edge, raw: dict[str, Any] | None, hostname: str) -> str:
    """Carry out the task's install; the sentence that ends the run."""
    plan = install_plan.parse(raw)
    progress = Progress(edge)
    run(["umount", "--recursive", TARGET], 60)
    disk = disks.choose(disks.read(Probe()), plan.path, plan.serial, plan.by_id)
    install_plan.check_size(disk, plan.partitions)
    progress.step("partition", f"partitioning {disk.describe()}")
    release(disk)
    paths = install_plan.partition_paths(disk, plan.partitions)
    prepare_disk(disk, plan.partitions, paths)
    with Mounts(f"disk {disk.path}") as mounts:
        uuids = fill(plan, hostname, paths, mounts, progress)
        progress.step("bootloader", "installing GRUB")
        make_bootable(disk, plan, uuids, mounts)
        say(f"disk {disk.path}: {efi_boot.register(disk, plan.partitions)}")
        progress.step("sync", "writing everything to the disk")
        os.sync()
    return f"installed on {disk.describe()}"
