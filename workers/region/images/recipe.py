"""What goes into the images: packages, what is taken out again, and the digest of all that.

The digest covers this package's own source and every file of `templates/images/`, so any change to what would be built
makes the cached result stale. It does not cover the mirror's packages: security updates come with `build --force`.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parents[3] / "templates" / "images"
CODE = Path(__file__).resolve().parent

# Firmware for network cards and storage adapters. linux-free is in `main`; the rest needs `non-free-firmware`.
# firmware-netronome is left out: 144 MB for cards that start from their own flash.
FREE_FIRMWARE = ("firmware-linux-free",)
NONFREE_FIRMWARE = (
    "firmware-bnx2",
    "firmware-bnx2x",
    "firmware-cavium",
    "firmware-misc-nonfree",
    "firmware-myricom",
    "firmware-netxen",
    "firmware-qlogic",
    "firmware-realtek",
)

EPHEMERAL_PACKAGES = (
    "busybox",
    "ca-certificates",
    "curl",
    "dmidecode",
    "dosfstools",
    "e2fsprogs",
    "efibootmgr",
    "ethtool",
    "fdisk",
    "gdisk",
    "hdparm",
    "initramfs-tools",
    "ipmitool",
    "iproute2",
    "iputils-ping",
    "kmod",
    "linux-image-amd64",
    "lldpd",
    "lshw",
    "lvm2",
    "mdadm",
    "netbase",
    "nvme-cli",
    "parted",
    "pci.ids",
    "pciutils",
    "procps",
    "python3",
    "sg3-utils",
    "smartmontools",
    "systemd",
    "systemd-sysv",
    "tar",
    "udev",
    "usbutils",
    "util-linux",
    "xfsprogs",
    "zstd",
)

DEPLOYABLE_PACKAGES = (
    "apt",
    "bash-completion",
    "busybox",
    "ca-certificates",
    "chrony",
    "cloud-init",
    "curl",
    "dbus",
    "debian-archive-keyring",
    "dosfstools",
    "e2fsprogs",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "grub2-common",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libnss-resolve",
    "libpam-systemd",
    "linux-image-amd64",
    "nano",
    "netbase",
    "netplan.io",
    "openssh-server",
    "procps",
    "python3",
    "rsyslog",
    "sudo",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "tzdata",
    "udev",
    "zstd",
)

# The installed system keeps firmware that a card cannot work without; the large collections stay installable.
DEPLOYABLE_FIRMWARE = ("firmware-bnx2", "firmware-bnx2x", "firmware-linux-free", "firmware-qlogic")

# Below lib/modules/<version>/kernel: what no server has, a sixth of the kernel's package. The installed system tells dpkg so
# (dpkg(1), path-exclude), so that it stays out when the kernel is upgraded. media/cec and media/rc stay: graphics need them.
DESKTOP_MODULES = (
    "drivers/accessibility",
    "drivers/bluetooth",
    "drivers/comedi",
    "drivers/iio",
    "drivers/input/gameport",
    "drivers/input/joystick",
    "drivers/input/tablet",
    "drivers/input/touchscreen",
    "drivers/isdn",
    "drivers/media/common",
    "drivers/media/dvb-core",
    "drivers/media/dvb-frontends",
    "drivers/media/firewire",
    "drivers/media/i2c",
    "drivers/media/mc",
    "drivers/media/mmc",
    "drivers/media/pci",
    "drivers/media/platform",
    "drivers/media/radio",
    "drivers/media/test-drivers",
    "drivers/media/tuners",
    "drivers/media/usb",
    "drivers/media/v4l2-core",
    "drivers/net/wireless",
    "drivers/nfc",
    "drivers/staging",
    "net/bluetooth",
    "net/mac80211",
    "net/nfc",
    "net/wireless",
    "sound",
)

# And what no server needs to be inventoried, wiped or installed.
TRIMMED_MODULES = (
    *DESKTOP_MODULES,
    "arch/x86/kvm",
    "drivers/block/floppy.ko",
    "drivers/gpu/drm/amd",
    "drivers/gpu/drm/gma500",
    "drivers/gpu/drm/i915",
    "drivers/gpu/drm/nouveau",
    "drivers/gpu/drm/radeon",
    "drivers/gpu/drm/vmwgfx",
    "drivers/input/misc",
    "drivers/net/can",
    "drivers/net/ethernet/mellanox/mlxsw",
    "drivers/parport",
    "drivers/usb/gadget",
    "fs/ocfs2",
    "lib/test_bpf.ko",
    "net/can",
)

# Parts of Debian's initrd that serve roots on local disks; the ephemeral root comes over HTTP. (mdadm's loads the RAID
# modules, whose speed measurement takes a second.)
UNUSED_INITRAMFS = (
    "usr/share/initramfs-tools/hooks/dmsetup",
    "usr/share/initramfs-tools/hooks/fsck",
    "usr/share/initramfs-tools/hooks/lvm2",
    "usr/share/initramfs-tools/hooks/mdadm",
    "usr/share/initramfs-tools/hooks/resume",
    "usr/share/initramfs-tools/scripts/local-*/lvm2",
    "usr/share/initramfs-tools/scripts/local-*/mdadm",
)

# Left out of the squashfs, relative to its root, in mksquashfs's wildcard syntax. Copyright files stay.
SQUASHFS_EXCLUDES = (
    "boot/*",
    "dev/*",
    "proc/*",
    "run/*",
    "sys/*",
    "tmp/*",
    "usr/lib/python3*/test",
    "usr/lib/udev/hwdb.d/*.hwdb",
    "usr/lib/x86_64-linux-gnu/perl/5*/CORE",
    "usr/lib/x86_64-linux-gnu/perl/5*/auto/Encode/[CJKT]*",
    "usr/share/bash-completion/*",
    "usr/share/bug/*",
    "usr/share/initramfs-tools/*",
    "usr/share/lintian/*",
    "usr/share/perl/*",
    "usr/share/zoneinfo/right",
    "var/cache/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/info/*.md5sums",
    "var/lib/ucf/*",
    "var/log/*",
)

# Masked in the ephemeral system: timers, consoles and checks that cost boot time and serve nobody there.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "blk-availability.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dm-event.socket",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "lvm2-lvmpolld.socket",
    "lvm2-monitor.service",
    "mdcheck_continue.timer",
    "mdcheck_start.timer",
    "mdmonitor-oneshot.timer",
    "mdmonitor.service",
    "modprobe@loop.service",
    "nvmefc-boot-connections.service",
    "nvmf-autoconnect.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@.service",
    "smartmontools.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-initctl.socket",
    "systemd-journal-flush.service",
    "systemd-journald-audit.socket",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
    "uuidd.socket",
)

# Programs that systemd runs at every start to make units (systemd.generator(7)): of what is on the disks, which are not this
# system's, or of files that it does not have.
MASKED_GENERATORS = (
    "lvm2-activation-generator",
    "systemd-cryptsetup-generator",
    "systemd-fstab-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-run-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
    "systemd-veritysetup-generator",
)


@dataclass(frozen=True)
class Recipe:
    """One image set: its name in the cache and the Debian release it is made of."""

    name: str = "debian-12-amd64"
    os: str = "debian"
    release: str = "12"
    codename: str = "bookworm"
    architecture: str = "amd64"
    inputs: tuple[Path, ...] = field(default=(CODE, TEMPLATES))

    def digest(self) -> str:
        """SHA-256 over path and content of every input file, in a fixed order."""
        total = hashlib.sha256(f"{self.name} {self.codename} {self.architecture}\n".encode())
        for number, folder in enumerate(self.inputs):
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                if "__pycache__" in path.parts:
                    continue
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{number} {path.relative_to(folder).as_posix()} {content}\n".encode())
        return total.hexdigest()


DEBIAN_12 = Recipe()
