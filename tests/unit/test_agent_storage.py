"""Installing and erasing: the plans as values; tests/processes has the real thing."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from app.agent import disks, erase_plan, install, install_plan, target_files
from app.agent.disks import Holder
from app.agent.erase_plan import Span
from app.agent.errors import AgentError
from tests.factories.agent import GIB, TASK, changed, disk

LSBLK = (Path(__file__).parent / "data" / "agent" / "lsblk-md-lvm.json").read_text()


def test_the_commands_of_an_install() -> None:
    """Wipe, one partitioning command, one mkfs per filesystem, GRUB for BIOS and for UEFI, in this order."""
    plan = install_plan.parse(TASK)
    target = disk("/dev/nvme0n1", holders=(Holder("nvme0n1p1", "/dev/nvme0n1p1", "part", 1),))
    paths = install_plan.partition_paths(target, plan.partitions)

    assert [
        *install_plan.wipe(target),
        *install_plan.partition(target, plan.partitions),
        *install_plan.make_filesystems(plan.partitions, paths),
        *install_plan.bootloaders(plan.partitions, target.path),
    ] == [
        ["wipefs", "--all", "--force", "/dev/nvme0n1p1"],
        ["wipefs", "--all", "--force", "/dev/nvme0n1"],
        [
            *["sgdisk", "--clear", "--set-alignment=2048"],
            *["--new=1:0:+1M", "--typecode=1:ef02", "--change-name=1:bios_grub"],
            *["--new=2:0:+512M", "--typecode=2:ef00", "--change-name=2:esp"],
            *["--new=3:0:0", "--typecode=3:8300", "--change-name=3:root", "/dev/nvme0n1"],
        ],
        ["wipefs", "--all", "--force", "/dev/nvme0n1p2"],
        ["mkfs.vfat", "-F", "32", "-n", "ESP", "/dev/nvme0n1p2"],
        ["wipefs", "--all", "--force", "/dev/nvme0n1p3"],
        ["mkfs.ext4", "-q", "-F", "-L", "muster-root", "/dev/nvme0n1p3"],
        ["grub-install", "--target=i386-pc", "/dev/nvme0n1"],
        ["grub-install", "--target=x86_64-efi", "--efi-directory=/boot/efi", "--removable", "--no-nvram"],
    ]


def test_mounts_and_fstab_begin_with_the_root() -> None:
    """/ is mounted first and checked first; every filesystem is named by its UUID."""
    plan = install_plan.parse(TASK)
    paths = install_plan.partition_paths(disk(), plan.partitions)

    assert install_plan.mounts(plan.partitions, paths, "/t") == [("/dev/vda3", "/t"), ("/dev/vda2", "/t/boot/efi")]
    assert install_plan.fstab(plan.partitions, {2: "AB-CD", 3: "1-2-3"}) == (
        "# Written by Muster at install time.\n"
        "UUID=1-2-3 / ext4 errors=remount-ro 0 1\n"
        "UUID=AB-CD /boot/efi vfat umask=0077 0 2\n"
    )


def test_grub_follows_the_console() -> None:
    """The kernel's serial console is GRUB's too; without one GRUB keeps its own."""
    assert install_plan.grub_defaults("quiet console=ttyS1,9600") == (
        "# Written by Muster at install time.\n"
        'GRUB_CMDLINE_LINUX_DEFAULT=""\n'
        'GRUB_CMDLINE_LINUX="quiet console=ttyS1,9600"\n'
        "GRUB_TIMEOUT=2\n"
        "GRUB_DISABLE_OS_PROBER=true\n"
        'GRUB_TERMINAL="console serial"\n'
        'GRUB_SERIAL_COMMAND="serial --unit=1 --speed=9600"\n'
    )
    assert "SERIAL" not in install_plan.grub_defaults("quiet")


@pytest.mark.parametrize(
    ("task", "complaint"),
    [
        (changed("storage", "layout", value="lvm"), "layout 'lvm'"),
        (changed("storage", "table", value="mbr"), "table 'mbr'"),
        (changed("storage", "partitions", 1, "size_mib", value=None), "only the last partition"),
        (changed("storage", "partitions", 1, "number", value=3), "repeat"),
        (changed("storage", "partitions", 2, "mount", value="/srv"), "mounted at /"),
        (changed("storage", "partitions", 2, "mount", value="/../x"), "'..'"),
        (changed("storage", "partitions", 2, "filesystem", value="ntfs"), "filesystem 'ntfs' is unknown"),
        (changed("storage", "partitions", 2, "label", value="seventeen-letters"), "1 to 16"),
        (changed("rootfs", "format", value="zip"), "format 'zip'"),
        (changed("rootfs", "sha256", value="short"), "64 lower-case"),
        (changed("rootfs", "blake2b", value="short"), "rootfs blake2b 'short'"),
        (changed("rootfs", "url", value="file:///etc/shadow"), "http"),
        (changed("rootfs", value={}), "lacks or misspells 'format'"),
        (changed("kernel_options", value='a"; reboot; "'), "a shell or GRUB would interpret"),
    ],
)
def test_a_task_that_cannot_be_done_is_refused_before_anything_happens(task: dict[str, Any], complaint: str) -> None:
    """Each mistake is named."""
    with pytest.raises(AgentError) as info:
        install_plan.parse(task)
    assert complaint in str(info.value)


def test_a_disk_too_small_is_refused() -> None:
    """The layout's sizes and 2 GiB for the rest must fit; a 4 GiB disk is enough."""
    partitions = install_plan.parse(TASK).partitions

    install_plan.check_size(disk(), partitions)
    assert install_plan.needed_mib(partitions) == 1 + 512 + 2 + 2048
    with pytest.raises(AgentError, match=r"/dev/vda \(serial unknown, 2048 MiB\) is too small: .* 2563 MiB"):
        install_plan.check_size(disk(size=2 * GIB), partitions)


FOUND = [
    disk("/dev/sda", serial="A1", aliases=("/dev/disk/by-id/ata-X_A1", "/dev/disk/by-id/wwn-1")),
    disk("/dev/sdb", serial="B2", aliases=("/dev/disk/by-id/ata-X_B2",)),
    disk("/dev/vdc", serial="C3"),
    disk("/dev/vdd", serial="C3"),
]


@pytest.mark.parametrize(
    ("path", "serial", "by_id", "chosen"),
    [
        ("/dev/sdb", None, None, "/dev/sdb"),
        ("/dev/sda", "B2", None, "/dev/sdb"),
        ("/dev/sdb", None, "/dev/disk/by-id/wwn-1", "/dev/sda"),
        ("/dev/sdb", "A1", "/dev/disk/by-id/ata-X_A1", "/dev/sda"),
        ("/dev/vdd", "C3", None, "/dev/vdd"),
    ],
)
def test_the_stable_name_wins_over_the_path(path: str, serial: str | None, by_id: str | None, chosen: str) -> None:
    """Paths change between boots; they count only when nothing better is known, or among equals."""
    assert disks.choose(FOUND, path, serial, by_id).path == chosen


@pytest.mark.parametrize(
    ("path", "serial", "by_id", "complaint"),
    [
        ("/dev/sda", "GONE", None, "no disk with serial GONE; this machine has /dev/sda"),
        ("/dev/sda", "B2", "/dev/disk/by-id/wwn-1", "no disk with by-id name /dev/disk/by-id/wwn-1 and serial B2"),
        ("/dev/sda", "C3", None, "fits several disks"),
        ("/dev/sdq", None, None, "no disk with path /dev/sdq"),
    ],
)
def test_a_doubtful_disk_is_refused(path: str, serial: str | None, by_id: str | None, complaint: str) -> None:
    """A serial number that nothing has, or names that contradict each other, never fall back to the path."""
    with pytest.raises(AgentError) as info:
        disks.choose(FOUND, path, serial, by_id)
    assert complaint in str(info.value)


def test_what_stands_on_a_disk_is_taken_apart_from_the_top() -> None:
    """The deepest mount first, then the volume, then the array under it."""
    sda = disks.parse(LSBLK, {}, {})[0]

    assert disks.mounts_of(sda) == ["/mnt/inner", "/mnt"]
    assert disks.stop_holders(sda) == [
        ["dmsetup", "remove", "--retry", "/dev/mapper/vg-root"],
        ["mdadm", "--stop", "/dev/md127"],
    ]


def test_the_running_system_is_not_taken_apart() -> None:
    """A disk with / on it is refused."""
    with pytest.raises(AgentError, match="the running system is on it"):
        install.release(disk(mounts=("/",)))


def test_the_commands_of_a_quick_erase() -> None:
    """Partitions before the table that leads to them; a damaged table is no failure."""
    sda = disks.parse(LSBLK, {}, {})[0]

    assert erase_plan.signatures(sda) == [
        (["wipefs", "--all", "--force", "/dev/sda1"], (0,)),
        (["wipefs", "--all", "--force", "/dev/sda2"], (0,)),
        (["sgdisk", "--zap-all", "/dev/sda"], (0, 2)),
        (["wipefs", "--all", "--force", "/dev/sda"], (0,)),
    ]


def test_edges_steps_and_samples_cover_what_they_say() -> None:
    """Edges are one MiB each and never overlap; steps cover the disk without a gap; samples stay inside it."""
    mib = erase_plan.MIB
    spans = erase_plan.steps(GIB + 5)

    assert erase_plan.edges(10 * mib) == [Span(0, mib), Span(9 * mib, mib)]
    assert erase_plan.edges(1024) == [Span(0, 1024)]
    assert [span.start for span in spans] == [0, 256 * mib, 512 * mib, 768 * mib, GIB]
    assert sum(span.length for span in spans) == GIB + 5
    assert all(
        span.start + span.length <= GIB and span.start % 4096 == 0
        for span in erase_plan.samples(GIB, 4096, random.Random(1))
    )


def test_files_stay_inside_the_target(tmp_path: Path) -> None:
    """A link out of the target is not followed, neither as a folder nor as the file itself."""
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (outside / "file").write_text("theirs")
    (target / "etc").symlink_to(outside)
    (target / "hosts").symlink_to(outside / "file")

    with pytest.raises(AgentError, match="may be a link"):
        target_files.write(str(target), "/etc/passwd", "x")
    target_files.write(str(target), "/hosts", "ours", 0o600)
    target_files.write(str(target), "/a/b/c", "new")

    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "theirs"
    assert (target / "hosts").read_text() == "ours"
    assert (target / "hosts").stat().st_mode & 0o7777 == 0o600
    assert (target / "a/b").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("path", ["etc/passwd", "/", "/etc/../x", "/etc//x", ""])
def test_a_path_that_climbs_is_refused(tmp_path: Path, path: str) -> None:
    """Only plain absolute paths are taken."""
    with pytest.raises(AgentError, match="must be absolute"):
        target_files.write(str(tmp_path), path, "x")


def test_the_seed_is_private(tmp_path: Path) -> None:
    """User data may hold secrets, so only root may read the seed."""
    target_files.write_seed(str(tmp_path), {"meta-data": "instance-id: i1\n", "user-data": "#cloud-config\n"})

    folder = tmp_path / "var/lib/cloud/seed/nocloud"
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "meta-data": 0o600,
        "user-data": 0o600,
    }
    with pytest.raises(AgentError, match=r"seed '\.\./x'"):
        target_files.write_seed(str(tmp_path), {"../x": ""})


def test_a_kernel_without_its_initramfs_is_refused() -> None:
    """Such a system could not find its own disk."""
    install.check_kernels(["vmlinuz-6.1", "initrd.img-6.1", "config-6.1"])
    with pytest.raises(AgentError, match=r"no initrd\.img-6\.1"):
        install.check_kernels(["vmlinuz-6.1"])
    with pytest.raises(AgentError, match="has no kernel"):
        install.check_kernels(["grub"])
