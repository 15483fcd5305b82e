"""The lab's own directory: emptied only when a lab made it."""

from pathlib import Path

import pytest

from lab import run


def test_a_directory_of_somebody_else_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with files that no lab made is refused and keeps them."""
    (tmp_path / "thesis.txt").write_text("years of work")
    monkeypatch.setattr(run, "STATE", tmp_path)

    with pytest.raises(run.Refused, match="no lab made"):
        run.fresh_state()

    assert "years of work" == (tmp_path / "thesis.txt").read_text()


def test_the_last_lab_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier lab left is gone, and daemons of other users may pass."""
    state = tmp_path / "lab"
    monkeypatch.setattr(run, "STATE", state)
    run.fresh_state()
    (state / "old.log").write_text("old")

    run.fresh_state()

    assert [state / run.MARK] == list(state.iterdir())
    assert 0o755 == state.stat().st_mode & 0o777
