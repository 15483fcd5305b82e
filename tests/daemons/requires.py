"""What a test needs from the host: absent, the test is skipped with the reason; under CI (CI=true) it fails instead."""

import os
import shutil
from pathlib import Path

import pytest

from lab.capability import probe_capabilities


def require(*programs: str) -> None:
    """Skip (under CI: fail) unless every program is installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        absent(f"not installed: {', '.join(missing)}")


def require_file(path: Path, remedy: str) -> None:
    """Skip (under CI: fail) unless the file exists; `remedy` says how to get it."""
    if not path.exists():
        absent(f"{path} does not exist: {remedy}")


def require_virtual_rack() -> None:
    """Skip (under CI: fail) unless this host can make namespaces and taps and has the lab's programs."""
    if reasons := probe_capabilities():
        absent(" ".join(reasons))


def absent(reason: str) -> None:
    """Skip (under CI: fail) for what this host cannot give."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI is set, so this is a failure, not a skip)")
    pytest.skip(reason)
