"""What this host lets a lab do, each refusal in one sentence that names the reason and the remedy."""

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

TUNSETIFF = 0x400454CA
"""linux/if_tun.h: make or attach to a tun or tap device."""
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000

PROGRAMS = {
    "ip": "iproute2",
    "setpriv": "util-linux",
    "qemu-system-x86_64": "qemu-system-x86",
    "ipmi_sim": "openipmi",
    "ipmitool": "ipmitool",
}
"""The programs a virtual rack needs, and the Debian package of each."""


class CapabilityMissing(Exception):
    """This host cannot run a virtual rack; the message holds every reason, a sentence each."""


def probe_capabilities() -> list[str]:
    """Try everything a virtual rack needs and return a sentence for each thing that is refused; empty when all works.

    KVM is not needed (machines fall back to emulation): see `lab.accelerator`.
    """
    if os.geteuid() != 0:
        return ["Network namespaces and taps need root: this process runs as an ordinary user; run it as root."]
    reasons = [
        f"{program} is not installed: install the Debian package {package}."
        for program, package in PROGRAMS.items()
        if shutil.which(program) is None
    ]
    return reasons + [reason for reason in (_namespace_refusal(), _tap_refusal()) if reason]


def require_capabilities() -> None:
    """Raise CapabilityMissing unless a virtual rack can run here."""
    if reasons := probe_capabilities():
        raise CapabilityMissing(" ".join(reasons))


def _namespace_refusal() -> str | None:
    argv = ["unshare", "--net", "--", "ip", "link", "set", "lo", "up"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    except OSError as error:
        return f"Network namespaces cannot be tried: {argv[0]}: {error.strerror}."
    if done.returncode == 0:
        return None
    return (
        f"Network namespaces are refused ({done.stderr.strip()}): "
        "give this container CAP_SYS_ADMIN and CAP_NET_ADMIN, or use a virtual machine."
    )


def _tap_refusal(device: Path = Path("/dev/net/tun")) -> str | None:
    if not device.exists():
        return (
            f"Taps cannot be made: {device} does not exist; load the module `tun` or pass the device to this container."
        )
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return (
            f"Taps cannot be made: opening {device} is refused ({error.strerror}); allow the device to this container."
        )
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", b"", IFF_TAP | IFF_NO_PI))
    except OSError as error:
        return f"Taps cannot be made: the kernel refuses one ({error.strerror}); give this process CAP_NET_ADMIN."
    finally:
        os.close(descriptor)
    return None
