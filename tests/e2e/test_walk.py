"""The whole product on one host, as `make run ONCE=1` shows it: bare virtual machines become servers and are given back.

One machine has BIOS and IPMI, the other UEFI and Redfish; they are walked side by side, by the code of `make run`.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.process import end_processes, name_process
from lab.run import CACHE
from lab.standing import IMAGE
from lab.terminal import WHO_WIDTH, WIDTH
from tests.daemons.requires import require_file, require_virtual_rack

REPOSITORY = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 1500
START_SECONDS = 240
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_SECONDS + 60)]

LAB_STEPS = [
    "boot images",
    "virtual site",
    "control plane",
    "desired state",
    "rack: enrol, render, push, probe",
]
MACHINE_STEPS = {
    "node1": [
        "virtual machine",
        "power on -> enlisted as New",
        "commission -> Ready",
        "allocate",
        "deploy -> Deployed",
        "log in over SSH",
        "reboot, network boot first",
        "release with disk erase -> Ready",
    ],
    "node2": [
        "virtual machine",
        "entered, on by its BMC -> New",
        "commission -> Ready",
        "allocate",
        "deploy -> Deployed",
        "log in over SSH",
        "reboot, network boot first",
        "release with full erase -> Ready",
    ],
}


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


def start(state: Path) -> subprocess.Popen[str]:
    """Start `make run ONCE=1` on a port and in a directory of its own."""
    require_virtual_rack()
    require_file(CACHE / IMAGE / "manifest.json", "build it with `make images`")
    environment = {**os.environ, "MUSTER_PORT": str(free_port()), "MUSTER_LAB_STATE": str(state)}
    return subprocess.Popen(
        [sys.executable, "-m", "lab.run", "--once"], cwd=REPOSITORY, env=environment, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def steps_of(table: str) -> dict[str, list[str]]:
    """Titles of the steps in the closing table, by machine; the lab's own under an empty name."""
    steps: dict[str, list[str]] = {}
    for line in table.strip("\n").splitlines():
        who, title = line[2 : 2 + WHO_WIDTH].strip(), line[3 + WHO_WIDTH : 3 + WHO_WIDTH + WIDTH].strip()
        steps.setdefault(who, []).append(title)
    return steps


def assert_nothing_is_left(state: Path, said: str) -> None:
    """No namespace, tap, process or mount of a run that said its namespaces remains."""
    spaces = re.findall(r"\bmu[0-9a-f]{4}-(?:cp|rack|lan)\b", said)

    assert 3 == len(set(spaces)), said[-3000:]
    assert set() == set(spaces) & set(seen_by("ip", "netns", "list").split())
    assert "t-node" not in seen_by("ip", "-o", "link")
    assert [] == processes_of(state)
    assert str(state) not in Path("/proc/mounts").read_text(encoding="utf-8")


def test_the_main_job_is_walked_and_nothing_is_left(state: Path) -> None:
    """Every step of both machines is verified from outside; nothing of the run remains."""
    walk = start(state)
    name = name_process(walk.pid)
    try:
        said, _ = walk.communicate(timeout=DEADLINE_SECONDS)
    finally:
        # Asked to end, it tears down what it made.
        end_processes([name] if name else [], patience=60)
        walk.wait()

    assert 0 == walk.returncode, said[-3000:]
    assert {"": [*LAB_STEPS, "all"], **MACHINE_STEPS} == steps_of(said.partition("verified from outside\n")[2]), said[
        -3000:
    ]
    assert_nothing_is_left(state, said)


def test_ctrl_c_in_the_middle_of_both_walks_leaves_nothing(state: Path) -> None:
    """Interrupted while both machines run, the lab stops them, says so in one line, and nothing of it remains."""
    walk = start(state)
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
    assert_nothing_is_left(state, said)
