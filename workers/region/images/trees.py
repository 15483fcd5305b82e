"""Changes to an unpacked root: copying a template tree over it, trimming modules and firmware, masking units.

Nothing here runs a program except through `Commands.chroot`, and nothing reaches outside the given root.
"""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from workers.region.images.commands import BuildError, Commands

# Modules whose firmware is kept in the ephemeral image: network cards, storage, and what these are connected by.
FIRMWARE_FOR = ("drivers/net", "drivers/scsi", "drivers/ata", "drivers/block", "drivers/nvme", "drivers/infiniband")


def copy_tree(template: Path, root: Path) -> None:
    """Copy every file of `template` over `root`; scripts (first bytes `#!`) become executable, directories 0755."""
    for path in sorted(template.rglob("*")):
        target = root / path.relative_to(template)
        if path.is_dir():
            if not target.is_dir():
                target.mkdir(mode=0o755)
            continue
        content = path.read_bytes()
        target.write_bytes(content)
        target.chmod(0o755 if content.startswith(b"#!") else 0o644)


def kernel_version(root: Path) -> str:
    """The version of the one kernel that is installed in `root`."""
    found = sorted(path.name for path in (root / "usr/lib/modules").iterdir() if (path / "modules.order").exists())
    if len(found) != 1:
        raise BuildError(f"{root}: one kernel was expected, found {', '.join(found) or 'none'}")
    return found[0]


def trim_modules(root: Path, version: str, unwanted: Iterable[str]) -> None:
    """Remove modules or directories of them below `kernel/`; the caller runs depmod afterwards."""
    remove(root / "usr/lib/modules" / version / "kernel", unwanted)


def leave_out_modules(root: Path, version: str, unwanted: Sequence[str]) -> None:
    """Remove modules, and have dpkg install no such ones either when the kernel is upgraded."""
    trim_modules(root, version, unwanted)
    lines = "".join(f"path-exclude=/lib/modules/*/kernel/{name}/*\n" for name in unwanted)
    remark = "# Kernel modules that no server has. To get them: remove this file, and reinstall the kernel's package.\n"
    (root / "etc/dpkg/dpkg.cfg.d/muster-modules").write_text(remark + lines, encoding="utf-8")


def firmware_names(modules: Path) -> set[str]:
    """What the modules below `modules` may ask for: the `firmware=` entries of their .modinfo sections.

    The section is a run of zero-terminated `name=value` strings (include/linux/module.h), so it can be read without
    an ELF parser. Names may hold shell patterns.
    """
    pattern = re.compile(rb"(?:^|\0)firmware=([^\0]+)")
    names: set[str] = set()
    for folder in FIRMWARE_FOR:
        for path in (modules / folder).rglob("*.ko"):
            names.update(match.decode(errors="replace") for match in pattern.findall(path.read_bytes()))
    return names


def trim_firmware(root: Path, names: set[str]) -> int:
    """Remove every firmware file that no kept module may ask for; returns the bytes that remain.

    A link is kept with its target: cards are often served by a name that points to another.
    """
    base = root / "usr/lib/firmware"
    if not base.is_dir():
        return 0
    wanted: set[Path] = set()
    for name in names:
        for path in base.glob(name):
            while True:
                wanted.add(path)
                if not path.is_symlink():
                    break
                path = path.parent / path.readlink()
                path = Path(*_resolved(path.relative_to(base).parts, base))
    remaining = 0
    for path in sorted(base.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
        elif not path.is_symlink():
            remaining += path.stat().st_size
    return remaining


def _resolved(parts: Sequence[str], base: Path) -> Sequence[str]:
    """`base` and `parts` without `..`."""
    kept: list[str] = []
    for part in parts:
        if part == "..":
            if kept:
                kept.pop()
        else:
            kept.append(part)
    return (*base.parts, *kept)


def mask(root: Path, units: Iterable[str]) -> None:
    """Mask systemd units."""
    folder = root / "etc/systemd/system"
    for unit in units:
        path = folder / unit
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/null")


def remove(root: Path, patterns: Iterable[str]) -> None:
    """Remove files and trees by pattern, relative to `root`; what is not there is no error."""
    for pattern in patterns:
        # A plain name is not globbed, because that would pass over a link to nowhere.
        for path in root.glob(pattern) if "*" in pattern else [root / pattern]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def release_initramfs(commands: Commands, name: str, root: Path, version: str) -> None:
    """Undo the hook `hold-initramfs` and generate the initrd, once, from the finished tree."""
    (root / "usr/sbin/update-initramfs").unlink()
    divert = ["dpkg-divert", "--quiet", "--local", "--rename", "--remove", "/usr/sbin/update-initramfs"]
    commands.chroot(name, root, divert)
    commands.chroot(name, root, ["update-initramfs", "-c", "-k", version])
