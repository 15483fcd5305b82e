"""GRUB's first menu: what it starts, from where, and what it refuses."""

from __future__ import annotations

import pytest

from app.agent import grub_menu
from app.agent.errors import AgentError
from app.agent.install_plan import Partition

ROOT_UUID, BOOT_UUID = "94554ad2-ccb1-410a-ab8a-d38652ee746f", "11111111-2222-3333-4444-555555555555"
ROOT = Partition(3, "root", None, "8300", "ext4", "/", None)
BOOT = Partition(2, "boot", 512, "8300", "xfs", "/boot", None)
NAMES = ["config-6.1.0-9-amd64", "vmlinuz-6.1.0-9-amd64", "initrd.img-6.1.0-9-amd64", "vmlinuz-6.1.0-10-amd64"]


def test_the_newest_kernel_comes_first() -> None:
    """Versions are compared as numbers, the root is named by its UUID, the options follow."""
    text = grub_menu.menu((ROOT,), {3: ROOT_UUID}, NAMES, "console=ttyS0,9600 quiet")

    assert text.splitlines()[1:] == [
        "set default=0",
        "set timeout=1",
        "insmod part_gpt",
        "insmod ext2",
        f"search --no-floppy --fs-uuid --set=root {ROOT_UUID}",
        "serial --unit=0 --speed=9600",
        "terminal_input console serial",
        "terminal_output console serial",
        "menuentry 'Debian GNU/Linux, 6.1.0-10-amd64' --class debian --class gnu-linux --class os {",
        f"\tlinux /boot/vmlinuz-6.1.0-10-amd64 root=UUID={ROOT_UUID} ro console=ttyS0,9600 quiet",
        "\tinitrd /boot/initrd.img-6.1.0-10-amd64",
        "}",
        "menuentry 'Debian GNU/Linux, 6.1.0-9-amd64' --class debian --class gnu-linux --class os {",
        f"\tlinux /boot/vmlinuz-6.1.0-9-amd64 root=UUID={ROOT_UUID} ro console=ttyS0,9600 quiet",
        "\tinitrd /boot/initrd.img-6.1.0-9-amd64",
        "}",
    ]


def test_a_boot_partition_is_searched_for() -> None:
    """With /boot on its own file system the files are at its top, and the root stays the root; no serial line, no serial menu."""
    text = grub_menu.menu((ROOT, BOOT), {2: BOOT_UUID, 3: ROOT_UUID}, NAMES[:3], "")

    assert "insmod xfs" in text
    assert f"--set=root {BOOT_UUID}\n" in text
    assert f"\tlinux /vmlinuz-6.1.0-9-amd64 root=UUID={ROOT_UUID} ro\n" in text
    assert "serial" not in text


@pytest.mark.parametrize(
    ("uuids", "names", "words"),
    [
        ({}, NAMES, "partition 3 has no UUID"),
        ({3: "x; reboot"}, NAMES, "partition 3 has no UUID"),
        ({3: ROOT_UUID}, ["vmlinuz-6 } reboot"], "has a name that GRUB would not read"),
    ],
)
def test_what_grub_would_interpret_is_refused(uuids: dict[int, str], names: list[str], words: str) -> None:
    """Nothing but UUIDs and plain version names gets into the menu."""
    with pytest.raises(AgentError, match=words):
        grub_menu.menu((ROOT,), uuids, names, "")
