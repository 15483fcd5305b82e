"""What the walks of the whole lab need."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def state() -> Iterator[Path]:
    """A directory that daemons of other users may pass."""
    with tempfile.TemporaryDirectory(prefix="muster-e2e-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "lab"
