"""The comparison with Ironic: what is compared, and what is said when Ironic cannot be had."""

import os
import time
from pathlib import Path

import pytest

from bench.figure import Figure
from bench.ironic import Beside, Measured, NodeCost, Promise, _processor_clock
from bench.ironic_install import prepare

PEER = [NodeCost(0.002, 0.012, wall, cpu) for wall, cpu in ((0.09, 0.06), (0.106, 0.07), (0.4, 0.11))]


def figures(beside: Beside) -> dict[str, Figure]:
    """What is said of 20 ms of ours."""
    promised = beside.promises(Promise("verbs", 0.020, 0.2, "verbs only"), Promise("whole", 0.090, 1.0, "all"))
    return {figure.name.strip(): figure for figure in (*promised, *beside.figures(0.016, 0.006))}


def test_wall_times_are_medians_without_the_way_there() -> None:
    """106 ms in the middle, less three requests of 2 ms; processor time is the mean, which no look can make longer."""
    its = Measured.of(PEER)

    assert pytest.approx(0.100) == its.inside
    assert pytest.approx(0.08) == its.cpu


def test_ours_is_divided_by_its(tmp_path: Path) -> None:
    """20 ms beside 100 is 0.2, which is just allowed; only what is promised has a limit."""
    beside = Beside(tmp_path, tmp_path)
    beside.costs = PEER
    seen = figures(beside)

    assert pytest.approx(0.2) == seen["verbs"].value
    assert "20 to 100 ms; verbs only" == seen["verbs"].compared_with
    assert pytest.approx(0.9) == seen["whole"].value
    assert pytest.approx(0.2) == seen["processor time of the verbs, ratio to Ironic"].value
    assert pytest.approx(0.5) == seen["creating, ratio to Ironic"].value
    assert {"verbs": 0.2, "whole": 1.0} == {name: one.limit for name, one in seen.items() if one.limit is not None}


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The place is named."""
    tmp_path.joinpath("cache").write_text("a file\n")
    with Beside(tmp_path / "cache", tmp_path / "state") as beside:
        pass

    assert str(tmp_path / "cache" / "bench-ironic-39.0.0") in beside.missing


def test_a_finished_environment_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed when the stamp says that these very versions are."""
    made: list[Path] = []

    def install(environment: Path) -> None:
        environment.mkdir()
        made.append(environment)

    monkeypatch.setattr("bench.ironic_install._install", install)

    assert prepare(tmp_path) == prepare(tmp_path)
    assert 1 == len(made)


def test_the_clock_of_another_process_is_its_own() -> None:
    """For this process the made clock says what the named one says."""
    before = time.process_time()
    seen = time.clock_gettime(_processor_clock(os.getpid()))

    assert before <= seen <= time.process_time()
