"""The whole control plane as child processes of one: web server, region worker with its timer.

Children are started by name (`python -m gunicorn`, `python -m workers.region`), never by import.  One that dies is
started again after a pause that doubles; one that keeps dying at once ends the whole, so that a broken installation is
seen.  SIGTERM and SIGINT are passed on and waited for.  Listening sockets are made here and inherited, so a taken port
is one clear sentence before anything has been started, and a restart of the web server loses no connection.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

from app.config import Config

THREADS = 64
"""Threads of the web server beside those that event streams hold: 24 for waiting racks, the others for everybody."""
WORKER = "app.cli.web_worker.PatientWorker"
CONNECTIONS = 2000
STOP_SECONDS = 15.0
STEADY_SECONDS = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST_FAILURES = 8
PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None, use_errno=True).prctl
log = structlog.get_logger(__name__)


class RunError(Exception):
    """The control plane cannot be started; the sentence says why and what to do."""


@dataclass(frozen=True)
class Listen:
    """Where to listen: host and port, or an inherited descriptor."""

    host: str | None
    port: int | None
    descriptor: int | None = None

    @classmethod
    def parse(cls, text: str) -> Listen:
        """`127.0.0.1:5240`, `[::1]:5240` or `:5240` (all IPv4 addresses). RunError for anything else."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or (":" in host and not host.startswith("[")):
            raise RunError(f"--listen {text!r}: must be HOST:PORT, as in 127.0.0.1:5240 or [::1]:5240")
        return cls(host.strip("[]") or "0.0.0.0", int(port))

    def open(self) -> socket.socket:
        """The listening socket, inheritable. RunError names the address that is taken."""
        if self.descriptor is not None:
            try:
                return socket.socket(fileno=self.descriptor)
            except OSError as error:
                raise RunError(f"--listen-fd {self.descriptor}: is no open socket ({error.strerror})") from error
        family = socket.AF_INET6 if ":" in str(self.host) else socket.AF_INET
        link = socket.socket(family, socket.SOCK_STREAM)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            link.bind((self.host, self.port))
            link.listen(256)
        except OSError as error:
            link.close()
            raise RunError(
                f"port {self.port} of {self.host} cannot be used ({error.strerror}): see who listens there with "
                f"`ss -ltnp`, or choose another with --listen"
            ) from error
        return link


def web_server(streams: int, descriptors: Sequence[int]) -> list[str]:
    """The command line of the web server on inherited listening sockets: a thread for each stream, and those for all else."""
    argv = [sys.executable, "-m", "gunicorn", "--worker-class", WORKER, "--workers", "1"]
    argv += ["--threads", str(THREADS + streams), "--worker-connections", str(CONNECTIONS + streams)]
    argv += ["--timeout", "120", "--graceful-timeout", "5", "--keep-alive", "30"]
    for descriptor in descriptors:
        argv += ["--bind", f"fd://{descriptor}"]
    return [*argv, "--no-control-socket", "app.factory:create_app_from_environment()"]


@dataclass
class Child:
    """One process that should run; its output is appended to a file."""

    name: str
    argv: Sequence[str]
    log_path: Path
    sockets: Sequence[socket.socket] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0

    def start(self, environment: dict[str, str]) -> None:
        """Start it; its output goes to its log file."""
        descriptors = [link.fileno() for link in self.sockets]
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=descriptors,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.started_at = time.monotonic()
        log.info("run.started", child=self.name, pid=self.process.pid)

    def look(self) -> None:
        """Note a death, and when to start it again."""
        if self.process is None or self.process.poll() is None:
            return
        code, self.process = self.process.returncode, None
        lived = time.monotonic() - self.started_at
        self.failures = 1 if lived > STEADY_SECONDS else self.failures + 1
        pause = min(FIRST_PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self.start_at = time.monotonic() + pause
        log.warning("run.ended", child=self.name, code=code, again_in=pause, log=str(self.log_path))


class ControlPlane:
    """Runs the children until told to stop."""

    def __init__(self, config: Config, addresses: Sequence[Listen]) -> None:
        self._config = config
        self._addresses = addresses
        self._sockets: list[socket.socket] = []
        self._children: list[Child] = []
        self._stopping = False

    def bind(self) -> None:
        """Take the addresses. RunError when one is taken."""
        self._sockets = [address.open() for address in self._addresses]

    def run(self) -> int:
        """Start everything and stay until a signal comes. 0 when told to stop, 1 when a child kept failing."""
        self._config.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = self._environment()
        self._children = self._make_children()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        where = ", ".join(_address(link) for link in self._sockets)
        print(f"Muster listens on {where}; logs are in {self._config.log_dir}.", flush=True)
        try:
            while not self._stopping:
                for child in self._children:
                    child.look()
                    if child.failures >= MOST_FAILURES:
                        print(f"muster: {child.name} keeps failing; see {child.log_path}", file=sys.stderr)
                        return 1
                    if child.process is None and time.monotonic() >= child.start_at and not self._stopping:
                        child.start(environment)
                time.sleep(0.2)
            return 0
        finally:
            self._end_children()

    def _make_children(self) -> list[Child]:
        gunicorn = web_server(self._config.streams, [link.fileno() for link in self._sockets])
        region = [sys.executable, "-m", "workers.region"]
        logs = self._config.log_dir
        return [
            Child("web", gunicorn, logs / "web.log", self._sockets),
            Child("region", region, logs / "region.log"),
        ]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MUSTER_STATE_DIR": str(self._config.state_dir),
            "MUSTER_DATABASE_URL": self._config.database_url,
            "MUSTER_BROKER_URL": self._config.broker_url,
            "MUSTER_CACHE": str(self._config.cache_dir),
            "MUSTER_DOMAIN": self._config.domain,
            "PYTHONUNBUFFERED": "1",
            # What the processes count is summed over all of them; what an earlier run counted is history.
            "PROMETHEUS_MULTIPROC_DIR": str(fresh_directory(self._config.state_dir / "metrics")),
        }

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _end_children(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        ends = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                # Its own session, so its own group: gunicorn's workers and Celery's helpers go with it.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for link in self._sockets:
            link.close()


def fresh_directory(path: Path) -> Path:
    """The directory, for its owner only, with no counter of an earlier run in it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in path.glob("*.db"):
        old.unlink(missing_ok=True)
    return path


def _die_with_parent() -> None:
    """In the child: be told to stop when the parent is gone, however it went (prctl(2), PR_SET_PDEATHSIG)."""
    _PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM)


def _address(link: socket.socket) -> str:
    name = link.getsockname()
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"
