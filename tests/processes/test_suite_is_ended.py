"""A suite that is asked to end cleans up: pytest with this suite's own conftest, over a test that waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
WAITS = """
import time
from pathlib import Path
import pytest

@pytest.fixture(scope="session")
def made():
    path = Path(__file__).with_name("made")
    path.touch()
    yield
    time.sleep(0.5)
    path.unlink()

def test_waits(made):
    time.sleep(60)
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_sigterm_has_fixtures_cleaned_up(tmp_path: Path, workers: str) -> None:
    """One SIGTERM, or two, to the process that was started: what a session's fixture made is gone when it has ended."""
    (tmp_path / "test_waits.py").write_text(WAITS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", workers]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(ROOT)
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen([*argv, str(tmp_path)], cwd=tmp_path, env=environment, stdout=out, stderr=out)
    made = tmp_path / "made"
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not made.exists():
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < end, (tmp_path / "out").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()

    assert pytest.ExitCode.INTERRUPTED == code, (tmp_path / "out").read_text()
    assert not made.exists()
