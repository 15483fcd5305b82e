"""The root that containers begin from: Debian 12 with systemd, made once by mmdebstrap and kept.

It is kept below the cache of the boot images under a digest of its recipe, so another list of packages is another root.
It is made beside its place and renamed, by one process at a time; nobody writes into it afterwards (`lab.container` lays
something writable over it).  The mirror is the host's, as apt knows it, and is left in the root by mmdebstrap.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from lab import kea3

SUITE = "bookworm"
SECONDS = 900
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "procps", "ca-certificates"),
    *("python3", "python3-venv", "python3-apt", "openssh-server", "sudo"),
)
UNWANTED = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "dpkg-db-backup.timer", "ssh.service")
"""Nothing in a container happens by itself; whoever wants its SSH server starts it."""
_OPTIONS = (
    *("--variant=minbase", "--dpkgopt=force-unsafe-io", '--aptopt=APT::Install-Recommends "false"'),
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")),
    # A mirror that lags behind says so by a date that is over; the signature is what counts here.
    '--aptopt=Acquire::Check-Valid-Until "false"',
)


class Unobtainable(Exception):
    """A container cannot be had on this host; says why, and what would help."""


def root(extra: tuple[str, ...] = (), cache: Path = kea3.CACHE) -> Path:
    """The root with these packages on top, made if it is not there (a minute).  Unobtainable says why it cannot be."""
    packages = tuple(sorted({*PACKAGES, *extra}))
    place = cache / f"container-{_digest(packages)}"
    if place.is_dir():
        return place
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        raise Unobtainable("making the root of a container takes root and mmdebstrap; install the package mmdebstrap")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "container.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            _make(place, packages)
    return place


def _digest(packages: tuple[str, ...]) -> str:
    """Of the packages and of this very text: whatever changes in it is another root."""
    return hashlib.sha256("\n".join(packages).encode() + Path(__file__).read_bytes()).hexdigest()[:12]


def _make(place: Path, packages: tuple[str, ...]) -> None:
    beside = place.with_name(f"{place.name}.new")
    shutil.rmtree(beside, ignore_errors=True)  # Whoever holds the lock is the only one who makes it.
    argv = ["mmdebstrap", *_OPTIONS, f"--include={','.join(packages)}", SUITE, str(beside)]
    try:
        argv.append(kea3.mirror())
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except kea3.Unobtainable as error:
        raise Unobtainable(str(error)) from error
    except subprocess.TimeoutExpired as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise Unobtainable(f"mmdebstrap {SUITE} did not end within {SECONDS} s") from error
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if done.returncode != 0:
        shutil.rmtree(beside, ignore_errors=True)
        raise Unobtainable(f"mmdebstrap {SUITE}: {done.stderr.strip()[-600:]}")
    # mmdebstrap brings this host's name and name servers.
    for name in ("hostname", "resolv.conf"):
        (beside / "etc" / name).unlink(missing_ok=True)
    # Empty: each container gets an identity when it boots, without being taken for a machine that boots the first time.
    (beside / "etc" / "machine-id").write_bytes(b"")
    for wants in (beside / "etc" / "systemd" / "system").glob("*.wants"):
        for unit in UNWANTED:
            (wants / unit).unlink(missing_ok=True)  # Links that lead nowhere on this host.
    beside.chmod(0o755)
    beside.rename(place)
