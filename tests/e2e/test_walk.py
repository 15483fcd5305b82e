"""The whole product on one host, as `make run ONCE=1` shows it: a bare virtual machine becomes a server and is given back."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.process import end_processes, name_process
from lab.run import CACHE
from lab.standing import IMAGE
from tests.daemons.requires import require_file, require_virtual_rack

REPOSITORY = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 900
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_SECONDS + 60)]

STEPS = [
    "boot images",
    "virtual site",
    "control plane",
    "desired state",
    "rack: enrol, render, push, probe",
    "virtual machine",
    "power on -> enlisted as New",
    "commission -> Ready",
    "allocate",
    "deploy -> Deployed",
    "log in over SSH",
    "reboot, network boot first",
    "release with disk erase -> Ready",
    "all",
]


@pytest.fixture
def state() -> Iterator[Path]:
    """A directory that daemons of other users may pass."""
    with tempfile.TemporaryDirectory(prefix="muster-e2e-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "lab"


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


def processes_of(state: Path) -> list[str]:
    """Command lines of processes that name the lab's directory in their arguments or environment."""
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal() or int(place.name) == os.getpid():
            continue
        try:
            said = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:
            continue
        if str(state).encode() in b"\0".join(said):
            found.append(said[0].replace(b"\0", b" ").decode(errors="replace"))
    return found


def seen_by(*argv: str) -> str:
    """What a command prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_the_main_job_is_walked_and_nothing_is_left(state: Path) -> None:
    """Every step of the table is verified from outside; no namespace, tap, process or mount of the run remains."""
    require_virtual_rack()
    require_file(CACHE / IMAGE / "manifest.json", "build it with `make images`")
    environment = {**os.environ, "MUSTER_PORT": str(free_port()), "MUSTER_LAB_STATE": str(state)}
    walk = subprocess.Popen(
        [sys.executable, "-m", "lab.run", "--once"], cwd=REPOSITORY, env=environment, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    name = name_process(walk.pid)
    try:
        said, _ = walk.communicate(timeout=DEADLINE_SECONDS)
    finally:
        # Asked to end, it tears down what it made.
        end_processes([name] if name else [], patience=60)
        walk.wait()
    spaces = re.findall(r"\bmu[0-9a-f]{4}-(?:cp|rack|lan)\b", said)
    table = said.partition("verified from outside")[2]

    assert 0 == walk.returncode, said[-3000:]
    assert STEPS == [re.split(r"\s{2,}", line.strip())[0] for line in table.strip().splitlines()], said[-3000:]
    assert 3 == len(set(spaces))
    assert set() == set(spaces) & set(seen_by("ip", "netns", "list").split())
    assert "t-node1" not in seen_by("ip", "-o", "link")
    assert [] == processes_of(state)
    assert str(state) not in Path("/proc/mounts").read_text(encoding="utf-8")
