"""Walks side by side: who is heard, what a failure does, and when there is room."""

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.terminal import Ended, Terminal
from lab.walk import Walk
from lab.walks import WalkFailed, available_mib, needed_mib, walk_all


class Played:
    """A walk of one step; `act` is what it does with its terminal."""

    def __init__(self, terminal: Terminal, name: str, act: Any) -> None:
        self.terminal = terminal.beside(name)
        self.machine = SimpleNamespace(name=name, hardware=SimpleNamespace(memory_mib=1024))
        self._act = act

    def whole(self) -> None:
        """Play the step."""
        with self.terminal.step("step") as proof:
            proof.append(self._act(self.terminal) or "seen")


def walks(*played: Played) -> list[Walk]:
    return cast(list[Walk], list(played))


def test_every_line_and_row_says_whose_it_is() -> None:
    """Notes and steps carry the machine's name; the table has the lab's steps first, then each machine's together."""
    stream = io.StringIO()
    terminal = Terminal(stream)
    with terminal.step("control plane"):
        pass
    walk_all(
        walks(*(Played(terminal, name, lambda own: own.note("hello")) for name in ("node1", "node2"))), terminal, True
    )
    terminal.table()
    lines = stream.getvalue().splitlines()
    rows = lines[lines.index("") + 2 :]

    assert {"node1", "node2"} == {line.split()[1] for line in lines if "hello" in line}
    assert ["control", "node1", "node2", "all"] == [row.split()[0] for row in rows]


def test_a_failure_names_its_machine_and_stops_no_other() -> None:
    """The other machine is walked to its end; then the failure is told."""

    def fail(own: Terminal) -> None:
        raise ValueError("no such disk")

    terminal = Terminal(io.StringIO())
    done = threading.Event()
    both = walks(Played(terminal, "node1", fail), Played(terminal, "node2", lambda own: done.set()))

    for side_by_side in (True, False):
        done.clear()
        with pytest.raises(WalkFailed, match=r"^node1: no such disk$"):
            walk_all(both, terminal, side_by_side)
        assert done.is_set()


def test_walks_that_wait_end_with_the_lab() -> None:
    """`end` wakes whoever pauses, and what they would say then is not heard."""
    stream = io.StringIO()
    terminal = Terminal(stream)
    played = Played(terminal, "node1", lambda own: own.pause(300))
    thread = threading.Thread(target=pytest.raises, args=(Ended, played.whole))
    thread.start()
    terminal.end()
    thread.join(30)

    assert not thread.is_alive()
    assert "x node1" not in stream.getvalue()


@pytest.mark.parametrize(("limit", "expected"), [("max", 8192), (str(3 << 30), 2048), (str(64 << 30), 8192)])
def test_memory_is_what_host_and_control_group_leave(tmp_path: Path, limit: str, expected: int) -> None:
    """The smaller of both counts."""
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{1 << 30}\n")

    assert expected == available_mib(tmp_path / "meminfo", tmp_path)
    assert 8192 == available_mib(tmp_path / "meminfo", tmp_path / "absent")


def test_each_machine_needs_more_than_its_guest() -> None:
    """Two machines need the lab's share once and their own twice."""
    terminal = Terminal(io.StringIO())
    one, two = (Played(terminal, name, None) for name in ("node1", "node2"))

    assert 1024 < needed_mib(walks(one, two)) - needed_mib(walks(one)) < 2048
