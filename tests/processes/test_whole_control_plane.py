"""`muster run` from the outside: what it prints, restarts and leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from app.config import load
from app.services import users
from app.services.context import Context


def start_run(state: Path, *words: str, fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "app.cli", "run", "--state-dir", str(state), *words]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        argv,
        cwd=root,
        pass_fds=fds,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_ready(url: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if requests.get(f"{url}/api/v1/health/ready", timeout=2).status_code == 200:
                return
        except requests.RequestException:
            pass
        assert time.monotonic() < end, f"{url} is not ready after a minute"
        time.sleep(0.2)


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_whole_control_plane(tmp_path: Path) -> None:
    """`muster run` on an inherited socket: prints a password that works, restarts what dies, leaves nothing behind."""
    link = socket.socket()
    link.bind(("127.0.0.1", 0))
    link.listen()
    url = f"http://127.0.0.1:{link.getsockname()[1]}"
    running = start_run(tmp_path / "state", "--listen-fd", str(link.fileno()), fds=(link.fileno(),))
    try:
        wait_ready(url)
        first = children_of(running.pid)
        os.kill(first[0], signal.SIGKILL)
        wait_ready(url)
        taken = start_run(tmp_path / "other", "--listen", url.removeprefix("http://"))
        refused, _ = taken.communicate(timeout=60)
        running.send_signal(signal.SIGTERM)
        text, _ = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        link.close()
    password = next(line.split()[-1] for line in text.splitlines() if "password" in line)

    assert (0, 1) == (running.returncode, taken.returncode)
    assert "cannot be used" in refused
    assert 2 == len(first)
    assert not [pid for pid in first if Path(f"/proc/{pid}").exists()]
    found = users.authenticate(open_state(tmp_path / "state"), "admin", password)
    assert "admin" == found.role


def open_state(state: Path) -> Context:
    from app.wiring import wire

    return wire(load({"MUSTER_STATE_DIR": str(state)}))
