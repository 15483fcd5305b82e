"""Runs of the lab as `make run ONCE=1` starts them, and what is looked for when they are over."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from lab.run import CACHE
from lab.standing import IMAGE
from lab.terminal import WHO_WIDTH, WIDTH
from tests.daemons.requires import require_file, require_virtual_rack

REPOSITORY = Path(__file__).resolve().parents[2]


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
