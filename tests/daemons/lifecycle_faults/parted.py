"""A control plane whose web server and region worker are started and killed one by one, for tests of their deaths.

They are the processes that `muster run` starts, by the same words; but `muster run` starts what dies again, after pauses
that grow, which is right for an installation and would hide from a test what it is about.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.control import STOP_SECONDS, ControlPlane, ControlPlaneFailed

ROOT = Path(__file__).resolve().parents[3]
WEB = ["gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", "32", "--no-control-socket"]
REGION = ("-m", "workers.region")


class PartedControlPlane(ControlPlane):
    """`web` and `region` are its two processes; None while they are not there."""

    web: subprocess.Popen[bytes] | None = None
    region: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The web server's process id."""
        assert self.web is not None
        return self.web.pid

    def start(self) -> None:
        """Both, and wait until the web server answers."""
        upgrade = [sys.executable, "-m", "app.cli", "db", "upgrade", "--state-dir", str(self.state)]
        done = subprocess.run(upgrade, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode != 0:
            raise ControlPlaneFailed(f"muster db upgrade: {done.stderr[-800:]}")
        self.log.write_text(done.stdout)  # The password of the first administrator is read from here.
        self.start_web()
        self.start_region()

    def start_web(self, **environment: str) -> None:
        """The web server on the sockets that were handed over, and wait until it answers."""
        words = [*WEB, *(word for link in self.sockets for word in ("--bind", f"fd://{link.fileno()}"))]
        self.web = self._start("web", ["-m", *words, "app.factory:create_app_from_environment()"], environment)
        self._process = self.web
        self._wait()

    def start_region(self, words: Sequence[str] = REGION, **environment: str) -> subprocess.Popen[bytes]:
        """A region worker. words: other arguments of Python than those of the usual one."""
        self.region = self._start("region", words, environment)
        return self.region

    def _start(self, name: str, words: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        given = {
            "MUSTER_STATE_DIR": str(self.state),
            "MUSTER_CACHE": str(self.state / "cache"),
            "PYTHONUNBUFFERED": "1",
        }
        with (self.state / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **given, **environment}, pass_fds=[link.fileno() for link in self.sockets], cwd=ROOT,
            )  # fmt: skip

    def kill_web(self) -> None:
        """SIGKILL for gunicorn and its workers; connections to the port wait for the next."""
        _kill(self.web)
        self.web = None

    def kill_region(self) -> None:
        """SIGKILL for the region worker; the kernel ends its timer."""
        _kill(self.region)
        self.region = None

    def stop(self) -> None:
        """Both, asked first."""
        for process in (self.region, self.web):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    _kill(process)
        self.web = self.region = None


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
