"""The benchmark where Ironic cannot be installed: pip is asked, and refuses."""

import math
import os
from pathlib import Path

import pytest

from bench.figure import Figure, table
from bench.ironic import Beside, Promise


def figures(beside: Beside) -> dict[str, Figure]:
    """What is said of 20 ms of ours."""
    promised = beside.promises(Promise("verbs", 0.020, 0.2, "verbs only"), Promise("whole", 0.090, 1.0, "all"))
    return {figure.name.strip(): figure for figure in (*promised, *beside.figures(0.016, 0.006))}


def test_without_a_network_the_figure_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is pretended: the ratio is infinite, the reason is beside it, and no half environment stays."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with Beside(tmp_path / "cache", tmp_path / "state") as beside:
        beside.walk(counts=True)
    seen = figures(beside)

    assert ["verbs", "whole"] == list(seen)
    assert all(math.isinf(figure.value) and not figure.ok for figure in seen.values())
    assert "the side-by-side figure is missing: Ironic 39.0.0 cannot be installed: " in table(list(seen.values()))[0]
    assert "No matching distribution found for ironic==39.0.0" in seen["verbs"].compared_with
    assert [] == list((tmp_path / "cache").iterdir())
