"""OpenStack Ironic, pinned, in a virtual environment of its own that is made once and kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

VERSION = "39.0.0"
CONSTRAINTS = Path(__file__).with_name("ironic-constraints.txt")
INSTALL_SECONDS = 1200


class IronicMissing(Exception):
    """Ironic cannot be had here, in one sentence."""


def prepare(cache: Path) -> Path:
    """The environment in which Ironic is installed, made when it is not there. IronicMissing when it cannot be made."""
    environment = cache / f"bench-ironic-{VERSION}"
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes() + sys.version.encode()).hexdigest()
    stamp = environment / "muster-stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return environment
    try:
        shutil.rmtree(environment, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        _install(environment)
        stamp.write_text(wanted)
    except OSError as error:
        raise IronicMissing(f"Ironic {VERSION} cannot be installed into {environment}: {error}") from error
    return environment


def _install(environment: Path) -> None:
    print(f"  installing Ironic {VERSION} into {environment}, once", file=sys.stderr, flush=True)
    began = time.monotonic()
    python = [sys.executable, "-m"]
    pip = [*python, "pip", "--python", str(environment), "--disable-pip-version-check", "--no-input"]
    for argv in (
        [*python, "venv", "--clear", "--without-pip", str(environment)],
        [*pip, "install", "--progress-bar=off", "-c", str(CONSTRAINTS), f"ironic=={VERSION}"],
    ):
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout
            said = _follow(process, began)
        if process.returncode != 0:
            shutil.rmtree(environment, ignore_errors=True)
            errors = [line for line in said if line.startswith("ERROR")] or said[-1:] or ["it said nothing"]
            raise IronicMissing(f"Ironic {VERSION} cannot be installed: {argv[2]} said: {errors[-1].strip()[:200]}")
    print(f"  installed in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _follow(process: subprocess.Popen[str], began: float) -> list[str]:
    """Show what pip does, at most every ten seconds; all its lines. It is ended when it takes too long."""
    assert process.stdout
    said: list[str] = []
    shown = time.monotonic()
    for line in process.stdout:
        said.append(line)
        now = time.monotonic()
        if now - began > INSTALL_SECONDS:
            process.kill()
            said.append(f"ERROR: not done after {INSTALL_SECONDS} s")
            break
        if now - shown > 10:
            shown = now
            print(f"  {now - began:4.0f} s: {line.strip()[:90]}", file=sys.stderr, flush=True)
    return said
