"""Install what Muster needs on a Debian 12 host: packages, a virtual environment. Standard library only.

Run by `make run` and `make test` with the host's own python3, before anything else exists.  It says what is missing and
why, shows progress, does nothing when nothing is missing, and never lets a freshly installed daemon start by itself:
the daemons that Muster drives run in network namespaces, under a supervisor.

    python3 lab/install.py --for run|test|check
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
POLICY = Path("/usr/sbin/policy-rc.d")
LOCK_WAIT_SECONDS = 600

WHY = {
    "the virtual environment": ("python3-venv",),
    "namespaces and taps": ("iproute2", "iputils-ping", "procps", "kmod"),
    "DHCP": ("kea-dhcp4-server", "kea-dhcp6-server"),
    "DNS": ("bind9", "bind9-utils", "bind9-dnsutils"),
    "TFTP": ("dnsmasq-base",),
    "HTTP proxy": ("squid-openssl",),
    "time": ("chrony",),
    "router advertisements": ("radvd",),
    "syslog": ("rsyslog",),
    "boot loaders": ("ipxe",),
    "virtual machines": ("qemu-system-x86", "ipxe-qemu", "seabios", "ovmf"),
    "BMCs": ("openipmi", "ipmitool"),
    "boot images": ("mmdebstrap", "squashfs-tools", "zstd", "debian-archive-keyring"),
    "reading disks": ("gdisk", "util-linux"),
    "logging in": ("openssh-client",),
}
WHY_TEST = {
    "ISC dhcpd under test": ("isc-dhcp-server",),
    "PostgreSQL under test, also as the hosts database of DHCP": ("postgresql", "kea-admin"),
    "the broker of larger sites, under test and measured": ("redis-server",),
    "package repositories under test": ("gnupg",),
    "hosts with systemd under test": ("systemd-container", "mmdebstrap", "ansible-core"),
    "pages under test": ("chromium",),
    "the machine agent under test": ("dosfstools", "e2fsprogs", "parted"),
}


class Refused(Exception):
    """One clear sentence about why the host cannot be set up."""


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


def missing_packages(wanted: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Packages of `wanted` that dpkg does not call installed, by reason."""
    names = sorted({name for group in wanted.values() for name in group})
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in shown.stdout.splitlines() if line.endswith(" installed")}
    found = {why: [name for name in group if name not in installed] for why, group in wanted.items()}
    return {why: group for why, group in found.items() if group}


def install_packages(wanted: dict[str, tuple[str, ...]]) -> None:
    """Install the missing packages; daemons are kept from starting while that happens."""
    missing = missing_packages(wanted)
    if not missing:
        return
    names = sorted({name for group in missing.values() for name in group})
    if os.geteuid() != 0:
        raise Refused(
            f"{len(names)} Debian packages are missing ({', '.join(names)}); installing them takes root: run this as root"
        )
    for why, group in missing.items():
        say(f"  {why}: {' '.join(group)}")
    guarded = not POLICY.exists()
    if guarded:
        POLICY.write_text(
            "#!/bin/sh\n# Written by Muster's installer for the time of one apt-get run: no daemon starts by itself.\nexit 101\n"
        )
        POLICY.chmod(0o755)
    try:
        apt("update", [])
        apt("install", ["-y", "--no-install-recommends", *names])
    finally:
        if guarded:
            POLICY.unlink(missing_ok=True)


def apt(verb: str, words: list[str]) -> None:
    """Run apt-get with its progress on one line; Refused with the end of its output when it fails.

    Progress comes through a pipe of its own (APT::Status-Fd): on standard output it would be closed for the packages'
    scripts, which then fail.
    """
    read_end, write_end = os.pipe()
    argv = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={LOCK_WAIT_SECONDS}", "-o", f"APT::Status-Fd={write_end}"]
    argv += ["-o", "Dpkg::Use-Pty=0", verb, *words]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryFile("w+") as log, os.fdopen(read_end, encoding="utf-8", errors="replace") as progress:
        process = subprocess.Popen(
            argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, pass_fds=(write_end,)
        )
        os.close(write_end)
        show_progress(verb, progress)
        if process.wait() != 0:
            log.seek(0)
            tail = "\n    ".join(log.read().splitlines()[-15:])
            raise Refused(f"apt-get {verb} failed with exit code {process.returncode}; its last words:\n    {tail}")


def show_progress(verb: str, lines: Iterable[str]) -> None:
    """Show apt's status lines (`dlstatus:1:12.5:Retrieving file 1 of 8`), each over the last on a terminal."""
    terminal = sys.stderr.isatty()
    shown = 0.0
    for line in lines:
        parts = line.rstrip().split(":", 3)
        if (
            parts[0] in ("pmstatus", "dlstatus")
            and len(parts) == 4
            and time.monotonic() - shown > (0.2 if terminal else 15)
        ):
            shown = time.monotonic()
            end = "\r" if terminal else "\n"
            print(
                f"  apt-get {verb}: {float(parts[2]):3.0f} % {parts[3][:60]:60}", end=end, file=sys.stderr, flush=True
            )
    if terminal and shown:
        print(" " * 90, end="\r", file=sys.stderr)


def install_environment() -> None:
    """Make the virtual environment and install the pinned Python packages into it, if that has not been done."""
    wanted = hashlib.sha256(
        (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes() + sys.version.encode()
    ).hexdigest()
    stamp = VENV / "muster-stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if (VENV / "pyvenv.cfg").exists():
        shutil.rmtree(VENV)
    run([sys.executable, "-m", "venv", str(VENV)], "making the virtual environment")
    say("  Python packages (pinned in constraints.txt)")
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run(
        [*pip, "-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[control,rack,dev]"], "installing the Python packages"
    )
    stamp.write_text(wanted)


def run(argv: list[str], doing: str) -> None:
    """Run a command; Refused names it with the end of its output when it fails."""
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        tail = "\n    ".join(done.stdout.splitlines()[-12:])
        raise Refused(f"{doing} failed ({' '.join(argv[:4])} ...), exit code {done.returncode}:\n    {tail}")


def main() -> int:
    """Install for one purpose. Exit code 1 with one clear sentence when the host refuses."""
    parser = argparse.ArgumentParser(description="Install what Muster needs on this Debian host.")
    parser.add_argument("--for", dest="purpose", choices=("run", "test", "check"), default="run")
    purpose = parser.parse_args().purpose
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 the host has
        say(f"muster: python3 is {sys.version.split()[0]}; Muster needs 3.11 or newer (Debian 12 ships it)")
        return 1
    started = time.monotonic()
    wanted = {"the virtual environment": WHY["the virtual environment"]} if purpose == "check" else dict(WHY)
    if purpose == "test":
        wanted |= WHY_TEST
    try:
        if shutil.which("apt-get") is None:
            raise Refused("this host has no apt-get; Muster's installer is written for Debian 12")
        fresh = bool(missing_packages(wanted)) or not (VENV / "muster-stamp").is_file()
        if fresh:
            say("muster: installing what is missing")
        install_packages(wanted)
        install_environment()
    except Refused as refusal:
        say(f"muster: {refusal}")
        return 1
    except KeyboardInterrupt:
        say("muster: interrupted; run it again to carry on")
        return 130
    if fresh:
        say(f"muster: installed in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
