"""Kea 3 beside the host's own Kea: a small root of Debian sid that is made once and kept, and a wrapper to run it by.

Nothing is entered: the wrapper starts the root's Kea with the root's own loader and libraries, so it sees this host's
files and network.  The mirror is the host's, as apt knows it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

CACHE = Path("/var/cache/muster")
ROOT = CACHE / "kea3-sid"
SUITE = "sid"
SECONDS = 300
_URI = re.compile(
    r"^URIs:\s*(\S+/debian)/?\s*$|^deb\s+(?:\[[^]]*\]\s+)?(\S+/debian)/?\s+\S+\s+.*\bmain\b", re.MULTILINE
)


class Unobtainable(Exception):
    """Kea 3 cannot be had here; says why."""


def mirror(directory: Path = Path("/etc/apt")) -> str:
    """The first mirror of Debian among the host's apt sources.  Unobtainable if there is none."""
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for path in files:
        match = _URI.search(path.read_text(errors="replace")) if path.is_file() else None
        if match:
            return match.group(1) or match.group(2)
    raise Unobtainable("this host's apt sources name no mirror of Debian")


def programs() -> Path:
    """A directory with a `kea-dhcp4` that is Kea 3, made if it is not there.  Unobtainable says why it cannot be."""
    wrapper = ROOT / "muster" / "kea-dhcp4"
    if not wrapper.exists():
        _make()
    return wrapper.parent


def hook(name: str) -> str:
    """Path of one of its libraries."""
    return str(next(ROOT.glob(f"usr/lib/*/kea/hooks/{name}")))


def _make() -> None:
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        raise Unobtainable("making a root of Debian sid takes mmdebstrap and root")
    CACHE.mkdir(parents=True, exist_ok=True)
    beside = ROOT.with_name(f"{ROOT.name}.{os.getpid()}")
    argv = ["mmdebstrap", "--variant=apt", "--include=kea-dhcp4-server", "--dpkgopt=force-unsafe-io"]
    argv += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    # A mirror that lags behind says so by a date that is over; the signature is what counts here.
    argv += ['--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=APT::Install-Recommends "false"']
    try:
        done = subprocess.run(
            [*argv, SUITE, str(beside), mirror()], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode != 0:
            raise Unobtainable(f"mmdebstrap {SUITE}: {done.stderr.strip()[-400:]}")
        _wrap(beside)
        shutil.rmtree(ROOT, ignore_errors=True)
        beside.rename(ROOT)
    except subprocess.TimeoutExpired as error:
        raise Unobtainable(f"mmdebstrap {SUITE} did not end within {SECONDS} s") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _wrap(root: Path) -> None:
    loader = next(root.glob("usr/lib/*/ld-linux-*.so.*"))
    libraries = ROOT / loader.parent.relative_to(root)
    text = f"""\
#!/bin/sh
# Kea looks for its libraries where it was built for, and takes no others.
export KEA_HOOKS_PATH={libraries}/kea/hooks
exec {libraries / loader.name} --library-path {libraries} {ROOT}/usr/sbin/kea-dhcp4 "$@"
"""
    path = root / "muster" / "kea-dhcp4"
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o755)
    root.chmod(0o755)
