"""What tests of pushes share: one standing rack for all of a process's tests of daemons."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemons.push_lab import PushLab, push_lab


@pytest.fixture(scope="package")
def standing_push_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushLab]:
    """Brought up once."""
    with push_lab(tmp_path_factory.mktemp("pushes")) as made:
        yield made


@pytest.fixture
def lab(standing_push_lab: PushLab) -> Iterator[PushLab]:
    """In sync before a test, and healed after it."""
    standing_push_lab.heal()
    yield standing_push_lab
    standing_push_lab.heal()
