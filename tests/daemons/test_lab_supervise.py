"""The supervisor of a virtual rack, run for real."""

import sys
import time
from pathlib import Path

import pytest

from lab import namespace
from lab.network import VirtualSite
from lab.process import name_process
from lab.supervise import Program, Supervisor
from tests.daemons.requires import require_virtual_rack

pytestmark = pytest.mark.daemons


def wait_for_state(supervisor: Supervisor, name: str, state: str) -> None:
    deadline = time.monotonic() + 15
    while supervisor.states().get(name) != state:
        assert time.monotonic() < deadline, supervisor.states()
        time.sleep(0.05)


def test_supervisor_runs_programs_in_the_rack_and_takes_new_ones(tmp_path: Path) -> None:
    """Fixed programs run in the rack's namespace with the environment given; a new unit file is taken up."""
    require_virtual_rack()
    seen = tmp_path / "seen"
    code = f"import os, time; open({str(seen)!r}, 'w').write(os.environ['MUSTER_WORD']); time.sleep(300)"
    programs = [Program("keeper", (sys.executable, "-c", code))]
    with (
        VirtualSite(tmp_path / "site") as site,
        Supervisor(site, tmp_path / "rack", programs, {"MUSTER_WORD": "100% spoken"}) as supervisor,
    ):
        wait_for_state(supervisor, "keeper", "RUNNING")
        unit = "[program:added]\ncommand=/bin/sleep 300\nstartsecs=0\nstopwaitsecs=2\n"
        (tmp_path / "rack" / "units" / "added.conf").write_text(unit, encoding="utf-8")
        added = supervisor.call("reloadConfig")[0][0]
        supervisor.call("addProcessGroup", "added")
        wait_for_state(supervisor, "added", "RUNNING")
        residents = namespace.residents(site.rack)
        pids = [entry["pid"] for entry in supervisor.call("getAllProcessInfo")]
        lodged = [name_process(pid) in residents for pid in pids]
        supervisor.end()
        alive = [pid for pid in pids if name_process(pid) is not None]

    assert ["added"] == added
    assert [True, True] == lodged
    assert ("100% spoken", []) == (seen.read_text(encoding="utf-8"), alive)
