"""The boot entry of a UEFI install: last in the order, one only, and never a reason to fail."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.agent import efi_boot
from app.agent.disks import Disk
from app.agent.install_plan import Partition
from app.agent.runner import Completed

DISK = Disk("vda", "/dev/vda", 4 << 30)
ESP = Partition(2, "esp", 512, "ef00", "vfat", "/boot/efi", "ESP")
ROOT = Partition(3, "root", None, "8300", "ext4", "/", None)


class Firmware:
    """efibootmgr(8) as far as the agent uses it; `writable` False refuses every change; `path` ends each entry's line.

    Debian 12's efibootmgr 17 shows no path, 18 and later show it behind a tab.
    """

    def __init__(self, order: list[str], labels: dict[str, str], writable: bool = True, path: str = "") -> None:
        self.order, self.labels, self.writable, self.path = order, labels, writable, path

    def __call__(self, argv: Sequence[str]) -> Completed:
        words = list(argv)
        if len(words) > 1 and not self.writable:
            return Completed(tuple(argv), 5, b"", b"Could not prepare Boot variable: Read-only file system")
        if "--create-only" in words:
            number = next(f"{n:04X}" for n in range(65536) if f"{n:04X}" not in self.labels)
            self.labels[number] = words[words.index("--label") + 1]
        elif "--bootorder" in words:
            self.order = words[-1].split(",")
        elif "--delete-bootnum" in words:
            del self.labels[words[-1]]
            self.order = [number for number in self.order if number != words[-1]]
        lines = ["BootCurrent: 0002", "Timeout: 0 seconds", f"BootOrder: {','.join(self.order)}"]
        lines += [f"Boot{number}* {label}{self.path}" for number, label in self.labels.items()]
        return Completed(tuple(argv), 0, "\n".join(lines).encode(), b"")


@pytest.mark.parametrize("path", ["", "\tPciRoot(0x0)/Pci(0x9,0x0)"], ids=["efibootmgr 17", "efibootmgr 18"])
def test_the_entry_comes_after_the_network(tmp_path: Path, path: str) -> None:
    """A new entry is put behind all others; the order of those stays."""
    labels = {"0001": "UEFI Misc Device", "0002": "UEFI PXEv4 (MAC:525400200012)"}
    firmware = Firmware(["0002", "0001"], labels, path=path)
    said = efi_boot.register(DISK, (ESP, ROOT), firmware, str(tmp_path))

    assert ["0002", "0001", "0000"] == firmware.order
    assert "Muster disk" == firmware.labels["0000"]
    assert "boot entry 0000 (Muster disk) in the firmware's order 0002, 0001, 0000" == said


def test_a_second_install_leaves_one_entry(tmp_path: Path) -> None:
    """What an earlier install left is removed first."""
    firmware = Firmware(["0002", "0007"], {"0002": "UEFI PXEv4", "0007": "Muster disk"})
    efi_boot.register(DISK, (ESP, ROOT), firmware, str(tmp_path))

    assert (["0002", "0000"], ["Muster disk"]) == (
        firmware.order,
        [label for label in firmware.labels.values() if label.startswith("Muster")],
    )


def test_firmware_that_keeps_nothing_fails_no_install(tmp_path: Path) -> None:
    """Read-only variables, a firmware without any, and a disk without an ESP are said and survived."""
    sealed = Firmware(["0002"], {"0002": "UEFI PXEv4"}, writable=False)

    assert "GRUB is at the removable path only" in efi_boot.register(DISK, (ESP, ROOT), sealed, str(tmp_path))
    assert "no UEFI variables" in efi_boot.register(DISK, (ESP, ROOT), sealed, str(tmp_path / "absent"))
    assert "no UEFI variables" in efi_boot.register(DISK, (ROOT,), sealed, str(tmp_path))


def test_the_entry_names_the_removable_path() -> None:
    """The entry starts what `grub-install --removable` wrote, on the ESP's partition."""
    command = efi_boot.create("/dev/nvme0n1", (ESP, ROOT))

    assert ["--disk", "/dev/nvme0n1", "--part", "2"] == command[3:7]
    assert r"\EFI\BOOT\BOOTX64.EFI" == command[-1]
