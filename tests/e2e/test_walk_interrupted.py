"""The whole lab stopped in the middle, as by Ctrl-C in `make run`."""

import signal
import threading
from pathlib import Path

import pytest

from lab.process import end_processes, name_process
from tests.e2e import runs

START_SECONDS = 240
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * START_SECONDS + 120)]


def test_ctrl_c_in_the_middle_of_both_walks_leaves_nothing(state: Path) -> None:
    """Interrupted while both machines run, the lab stops them, says so in one line, and nothing of it remains."""
    walk = runs.start(state)
    name = name_process(walk.pid)
    lines: list[str] = []
    giving_up = threading.Timer(START_SECONDS, walk.kill)
    giving_up.start()
    try:
        assert walk.stdout is not None
        for line in walk.stdout:
            lines.append(line)
            # The second machine is switched on through its BMC, some seconds after the first.
            if "The power of node2 is on" in line:
                walk.send_signal(signal.SIGINT)
                break
        rest, _ = walk.communicate(timeout=START_SECONDS)
    finally:
        giving_up.cancel()
        end_processes([name] if name else [], patience=60)
        walk.wait()
    said = "".join(lines) + rest

    assert 130 == walk.returncode, said[-3000:]
    assert "muster: stopped; nothing is left behind" == rest.splitlines()[-1]
    assert [] == [line for line in rest.splitlines() if "  x " in line]
    runs.assert_nothing_is_left(state, said)
