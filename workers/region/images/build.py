"""The order of a build: check the host, ask the mirror, bootstrap two roots, pack them, describe, put in place.

The two roots are independent and are made on two threads: package installation is mostly one process waiting for its
own file operations, so two at once nearly halve the time on two cores.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workers.region.images import manifest, sources, trees
from workers.region.images.commands import BuildError, Commands
from workers.region.images.recipe import (
    DEPLOYABLE_FIRMWARE,
    DEPLOYABLE_PACKAGES,
    DESKTOP_MODULES,
    EPHEMERAL_PACKAGES,
    FREE_FIRMWARE,
    MASKED_GENERATORS,
    MASKED_UNITS,
    NONFREE_FIRMWARE,
    SQUASHFS_EXCLUDES,
    TEMPLATES,
    TRIMMED_MODULES,
    UNUSED_INITRAMFS,
    Recipe,
)

NEEDED_BYTES = 3 * 2**30
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "zstd": "zstd",
    "tar": "tar",
    "apt-get": "apt",
    "unshare": "util-linux",
}
# Settings of the host's apt that its mirror may depend on.
APT_SETTINGS = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
DOCUMENTATION = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
STEPS = 9


@dataclass(frozen=True)
class Packages:
    """What the mirror can give: the sources with their components, and the firmware packages among the wanted ones."""

    text: str
    sources: tuple[sources.AptSource, ...]
    firmware: tuple[str, ...]
    apt_options: tuple[str, ...]


class Progress:
    """Counts steps and says them, with the seconds since the build began, through `say`."""

    def __init__(self, say: Callable[[str], None], total: int = STEPS) -> None:
        self._say = say
        self._total = total
        self._number = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def step(self, what: str) -> None:
        """A step begins."""
        with self._lock:
            self._number += 1
            self._say(f"[{self._number}/{self._total}] {time.monotonic() - self._began:6.1f} s  {what}")

    def done(self, what: str) -> None:
        """A remark about something finished."""
        with self._lock:
            self._say(f"      {time.monotonic() - self._began:6.1f} s  {what}")


def check_host(cache: Path) -> None:
    """Refuse, with the remedy, to begin what cannot end well."""
    if os.geteuid() != 0:
        raise BuildError("building images needs root, because package installation changes owners and mounts; use sudo")
    missing = sorted(package for program, package in PROGRAMS.items() if shutil.which(program) is None)
    if missing:
        raise BuildError(f"programs are missing; install them: apt-get install {' '.join(missing)}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
    except OSError as error:
        raise BuildError(f"cache {cache} cannot be used: {error}; name another with --cache") from error
    if free < NEEDED_BYTES:
        raise BuildError(
            f"cache {cache}: {free / 2**30:.1f} GiB free, a build needs {NEEDED_BYTES / 2**30:.0f} GiB; "
            "free some space or name another place with --cache"
        )


class Builder:
    """One build of `recipe` in the temporary directory `work`, put in place below `cache` by `build`."""

    def __init__(self, recipe: Recipe, work: Path, commands: Commands, progress: Progress, apt_directory: Path) -> None:
        self.recipe = recipe
        self.work = work
        self.commands = commands
        self.progress = progress
        self.apt_directory = apt_directory
        self.digest = recipe.digest()
        self.output = work / "output"
        self.output.mkdir()

    def build(self) -> manifest.Manifest:
        """Make all files and the manifest in `output`."""
        packages = self.ask_mirror()
        pool = ThreadPoolExecutor(max_workers=2)
        try:
            jobs = [pool.submit(self.ephemeral, packages), pool.submit(self.deployable, packages)]
            finished, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in finished:
                job.result()
            kernel = jobs[0].result()
        finally:
            if not all(job.done() for job in jobs):
                self.commands.stop()
            pool.shutdown()
        self.progress.step("Measure the files and write the manifest")
        made = manifest.Manifest(
            name=self.recipe.name,
            os=self.recipe.os,
            release=self.recipe.release,
            architecture=self.recipe.architecture,
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            recipe=self.digest,
            files=manifest.describe(self.output),
            kernel=str(kernel),
            firmware=packages.firmware,
            suites=tuple(sorted({suite for source in packages.sources for suite in source.suites})),
        )
        made.write(self.output)
        return made

    def ask_mirror(self) -> Packages:
        """Read the host's sources and see which firmware packages their mirror has."""
        self.progress.step(f"Ask the host's package mirror for {self.recipe.codename} and its firmware")
        found = sources.read_sources(self.apt_directory, self.recipe.codename)
        text = sources.render(found, (sources.MAIN, sources.FIRMWARE_COMPONENT))
        state = self.work / "apt"
        for name in ("lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True)
        source_file = state / "muster.sources"
        source_file.write_text(text, encoding="utf-8")
        settings = {
            "Dir::State::lists": state / "lists",
            "Dir::Cache": state / "cache",
            "Dir::Etc::sourcelist": source_file,
            "Dir::Etc::sourceparts": "/dev/null",
            "APT::Architecture": self.recipe.architecture,
        }
        options = [f"--option={key}={value}" for key, value in settings.items()]
        self.commands.run("mirror", ["apt-get", *options, "update"])
        known = set(self.commands.run("firmware", ["apt-cache", *options, "pkgnames", "firmware-"]).split())
        dump = self.commands.run("settings", ["apt-config", "dump"])
        apt_options = tuple(line for line in dump.splitlines() if line.split(" ", 1)[0] in APT_SETTINGS)
        firmware = tuple(name for name in (*FREE_FIRMWARE, *NONFREE_FIRMWARE) if name in known)
        components = [sources.MAIN]
        if any(name in firmware for name in NONFREE_FIRMWARE):
            components.append(sources.FIRMWARE_COMPONENT)
        else:
            self.progress.done("the mirror has no non-free-firmware: cards that need loaded firmware will not work")
        return Packages(sources.render(found, components), found, firmware, apt_options)

    def bootstrap(self, name: str, packages: Packages, include: Sequence[str]) -> Path:
        """Install packages into a new root; documentation stays out while this installs, copyright files stay in."""
        root = self.work / name
        argv = ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"]
        argv += [f"--architectures={self.recipe.architecture}", f"--include={','.join(include)}"]
        argv += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
        argv += [f"--essential-hook={TEMPLATES / 'hooks' / 'hold-initramfs'}", "--dpkgopt=force-unsafe-io"]
        argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in DOCUMENTATION]
        argv += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
        argv += ['--aptopt=Acquire::Languages "none"', *(f"--aptopt={line}" for line in packages.apt_options)]
        argv += [self.recipe.codename, str(root), "-"]
        environment = {**os.environ, "TMPDIR": str(self.work), "LC_ALL": "C.UTF-8"}
        self.commands.run(name, argv, stdin=packages.text.encode(), environment=environment)
        trees.remove(root, ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"))
        return root

    def ephemeral(self, packages: Packages) -> str:
        """Make kernel, initrd and squashfs; returns the kernel's version."""
        self.progress.step("Install the ephemeral system's packages")
        root = self.bootstrap("ephemeral", packages, (*EPHEMERAL_PACKAGES, *packages.firmware))
        version = trees.kernel_version(root)
        self.progress.step("Trim modules and firmware, generate the initrd")
        trees.trim_modules(root, version, TRIMMED_MODULES)
        left = trees.trim_firmware(root, trees.firmware_names(root / "usr/lib/modules" / version / "kernel"))
        trees.copy_tree(TEMPLATES / "ephemeral", root)
        trees.mask(root, MASKED_UNITS)
        trees.remove(root, ("etc/ssh/ssh_host_*", "etc/resolv.conf", "etc/hostname", *UNUSED_INITRAMFS))
        (root / "etc/machine-id").write_text("", encoding="ascii")
        for name in ("etc/.updated", "var/.updated"):
            # systemd-update-done.service(8): newer than /usr means nothing is to be rebuilt at boot.
            (root / name).touch()
        generators = root / "etc/systemd/system-generators"
        generators.mkdir(exist_ok=True)
        for name in MASKED_GENERATORS:
            (generators / name).symlink_to("/dev/null")
        chroot = self.commands.chroot
        chroot("ephemeral", root, ["systemctl", "enable", "muster-agent.service", "lldpd.service"])
        chroot("ephemeral", root, ["systemctl", "set-default", "multi-user.target"])
        chroot("ephemeral", root, ["depmod", version])
        trees.release_initramfs(self.commands, "ephemeral", root, version)
        for source, name in ((f"vmlinuz-{version}", "vmlinuz"), (f"initrd.img-{version}", "initrd")):
            shutil.copyfile(root / "boot" / source, self.output / name)
        self.progress.done(f"kernel {version}, {left / 2**20:.0f} MiB of firmware kept")
        self.progress.step("Pack the ephemeral system (squashfs, zstd)")
        packed = self.output / "root.squashfs"
        argv = ["mksquashfs", str(root), str(packed), "-comp", "zstd", "-Xcompression-level", "15", "-b", "128K"]
        argv += ["-noappend", "-no-progress", "-wildcards", "-e", *SQUASHFS_EXCLUDES]
        self.commands.run("squashfs", argv)
        self.progress.done(f"root.squashfs {packed.stat().st_size / 2**20:.0f} MiB")
        shutil.rmtree(root)
        return version

    def deployable(self, packages: Packages) -> str:
        """Make the root file system that gets installed; returns the kernel's version."""
        self.progress.step("Install the deployable system's packages")
        firmware = [name for name in DEPLOYABLE_FIRMWARE if name in packages.firmware]
        root = self.bootstrap("deployable", packages, (*DEPLOYABLE_PACKAGES, *firmware))
        version = trees.kernel_version(root)
        self.progress.step("Configure the deployable system, generate its initrd")
        trees.copy_tree(TEMPLATES / "deployable", root)
        trees.leave_out_modules(root, version, DESKTOP_MODULES)
        self.commands.chroot("deployable", root, ["depmod", version])
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
        trees.remove(root, ("etc/apt/sources.list.d/*",))
        (root / "etc/apt/sources.list.d/debian.sources").write_text(packages.text, encoding="utf-8")
        for keyring in sources.keyring_paths(packages.sources):
            target = root / keyring.relative_to("/")
            if not target.exists() and keyring.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(keyring, target)
        units = (
            "systemd-networkd.service",
            "systemd-resolved.service",
            "ssh.service",
            "chrony.service",
            "rsyslog.service",
        )
        self.commands.chroot("deployable", root, ["systemctl", "enable", *units, "muster-phone-home.service"])
        # It looks for LVM snapshots of ext4 checks at every boot; this system has neither.
        self.commands.chroot("deployable", root, ["systemctl", "disable", "e2scrub_reap.service"])
        trees.release_initramfs(self.commands, "deployable", root, version)
        trees.remove(root, ("etc/ssh/ssh_host_*", "etc/hostname", "etc/resolv.conf", "var/lib/dbus/machine-id"))
        trees.remove(root, ("var/lib/apt/lists/*", "var/cache/apt/*", "var/cache/debconf/*-old", "var/log/*.log"))
        trees.remove(root, ("var/log/apt/*", "run/*", "tmp/*", "var/lib/cloud/*"))
        (root / "etc/machine-id").write_text("", encoding="ascii")
        (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
        self.progress.step("Pack the deployable system (tar, zstd)")
        plain, packed = self.work / "rootfs.tar", self.output / "rootfs.tar.zst"
        argv = ["tar", "--create", f"--file={plain}", f"--directory={root}", "--numeric-owner", "--sort=name"]
        argv += ["--xattrs", "--xattrs-include=*", "--acls", "--exclude=./dev/*", "--exclude=./proc/*"]
        self.commands.run("tar", [*argv, "--exclude=./sys/*", "."])
        shutil.rmtree(root)
        self.commands.run("zstd", ["zstd", "-q", "-12", "-T0", "--long=24", "--rm", str(plain), "-o", str(packed)])
        self.progress.done(f"rootfs.tar.zst {packed.stat().st_size / 2**20:.0f} MiB")
        return version


def build(
    recipe: Recipe,
    cache: Path,
    say: Callable[[str], None],
    *,
    force: bool = False,
    apt_directory: Path = sources.APT_DIRECTORY,
) -> manifest.Manifest:
    """The image set of `recipe` below `cache`, built only if the one there is missing, stale or damaged."""
    target = cache / recipe.name
    if not force:
        try:
            return manifest.verify(target, recipe.digest())
        except manifest.ManifestError as reason:
            say(f"building: {reason}")
    check_host(cache)
    work = Path(tempfile.mkdtemp(prefix=f".{recipe.name}.", dir=cache))
    work.chmod(0o755)
    commands = Commands(work / "logs")
    progress = Progress(say)
    try:
        made = Builder(recipe, work, commands, progress, apt_directory).build()
        progress.step(f"Put the images in place at {target}")
        _put_in_place(work / "output", target, work / "old")
        return made
    except (BuildError, OSError) as error:
        kept = cache / f"{recipe.name}.failed-logs"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(commands.logs, kept)
        raise BuildError(str(error).replace(str(commands.logs), str(kept))) from error
    finally:
        commands.stop()
        _remove_tree(work)


def _put_in_place(made: Path, target: Path, old: Path) -> None:
    """Swap directories: whoever holds files of the old one open keeps them."""
    if target.exists():
        target.rename(old)
    made.rename(target)


def _remove_tree(work: Path) -> None:
    """Remove the temporary tree, but never through a mount: that would reach the host's own files."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    left = [mount for mount in mounts if mount.startswith(f"{work}/")]
    if left:
        raise BuildError(f"{work} was not removed because these mounts are left in it: {', '.join(left)}; unmount them")
    shutil.rmtree(work, ignore_errors=True)
