"""OpenStack Ironic beside a benchmark, on the same machine at the same time.

Ironic runs as its documentation calls standalone: the all-in-one command `ironic` (API and conductor in one worker
process, `rpc_transport = none`, `auth_strategy = noauth`) over SQLite in a file, with fake hardware that takes no time.
It is installed once, pinned, into an environment of its own in the cache.  It answers on a unix socket; all of its state
is in a temporary directory.

It is at its best here: automated cleaning, the periodic looks at power and timeouts and the node history are off,
SQLite never waits for the disk, and no client asks it how far it is: the end of a verb is read from its database.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.figure import Figure
from bench.ironic_install import IronicMissing, prepare
from lab.process import die_with_parent

START_SECONDS, VERB_SECONDS, STOP_SECONDS = 180, 60, 15
LOOK_SECONDS = 0.0005
"""Between two looks at the database."""
API = {"X-OpenStack-Ironic-API-Version": "1.99", "Accept": "application/json", "Content-Type": "application/json"}
VERBS = (("manage", "manageable"), ("provide", "available"), ("active", "active"))
INTERFACES = [
    "bios",
    "boot",
    "console",
    "deploy",
    "firmware",
    "inspect",
    "management",
    "power",
    "raid",
    "rescue",
    "vendor",
]
DAY = 86400
PERIODIC = (
    "sync_power_state", "check_provision_state", "check_rescue_state", "check_allocations", "cache_clean_up",
    "sync_local_state", "power_failure_recovery",
)  # fmt: skip
CONFIGURATION = """\
[DEFAULT]
auth_strategy = noauth
rpc_transport = none
host = bench
my_ip = 127.0.0.1
state_path = {folder}
log_file = {folder}/ironic.log
enabled_hardware_types = fake-hardware
enabled_network_interfaces = noop
enabled_storage_interfaces = noop
{interfaces}
[api]
unix_socket = {folder}/api.sock
api_workers = 1
[conductor]
automated_clean = false
node_history = false
{periodic}
[database]
connection = sqlite:///{folder}/ironic.sqlite
sqlite_synchronous = false
[dhcp]
dhcp_provider = none
"""


@dataclass(frozen=True)
class NodeCost:
    """Seconds for one node. request: Ironic's cheapest answer; created: making the node; verbs: wall and processor."""

    request: float
    created: float
    wall: float
    cpu: float


@dataclass(frozen=True)
class Measured:
    """Seconds a node: medians of wall time, the mean of processor time."""

    request: float
    created: float
    wall: float
    cpu: float

    @classmethod
    def of(cls, costs: list[NodeCost]) -> Self:
        """What these nodes say together."""
        return cls(
            statistics.median(cost.request for cost in costs),
            statistics.median(cost.created for cost in costs),
            statistics.median(cost.wall for cost in costs),
            statistics.mean(cost.cpu for cost in costs),
        )

    @property
    def inside(self) -> float:
        """Wall time of the verbs without their way to Ironic and back: less one cheapest request for each."""
        return self.wall - len(VERBS) * self.request


@dataclass(frozen=True)
class Promise:
    """Seconds of our wall time, which part of Ironic's they may be, and what they comprise."""

    name: str
    wall: float
    limit: float
    words: str


# --- running ---------------------------------------------------------------------------------------------------------


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a unix socket, kept open."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=VERB_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Ironic:
    """A running Ironic; a context manager. IronicMissing when it does not start, or a node does not get where it should."""

    def __init__(self, environment: Path, folder: Path) -> None:
        """Nothing yet: `folder` will hold all that it writes."""
        self.environment, self.folder = environment, folder
        self.log = folder / "ironic.log"

    def __enter__(self) -> Self:
        """Make the database, start, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "ironic.conf"
        file.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                interfaces="\n".join(f"enabled_{name}_interfaces = fake" for name in INTERFACES),
                periodic="\n".join(f"{name}_interval = {DAY}" for name in PERIODIC),
            )
        )
        words = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        command = [str(self.environment / "bin/ironic"), "--config-file", str(file)]
        with contextlib.ExitStack() as undo:
            output = undo.enter_context((self.folder / "output").open("w"))
            dbsync = [f"{command[0]}-dbsync", *command[1:], "create_schema"]
            made = subprocess.run(
                dbsync,
                env=words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=START_SECONDS,
                check=False,
            )
            if made.returncode != 0:
                raise IronicMissing(f"Ironic's database cannot be made: {self._last_words()}")
            self.process = subprocess.Popen(
                die_with_parent(command, "TERM"),
                env=words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
            undo.callback(self._stop)
            self.client = _OverSocket(self.folder / "api.sock")
            undo.callback(self.client.close)
            self._wait_until_it_answers()
            self.database = sqlite3.connect(
                f"file:{self.folder}/ironic.sqlite?mode=ro", uri=True, isolation_level=None, timeout=VERB_SECONDS
            )
            undo.callback(self.database.close)
            self.clocks = [_processor_clock(pid) for pid in _session(self.process.pid)]
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._undo.close()

    def walk(self) -> NodeCost:
        """Make a node, then manage, provide and activate it.

        A verb has taken until its state is in the database and the node's lock is gone, without which the next verb
        would be refused; the last one only until its state is there.
        """
        self.client.close()  # Ironic hangs up on a connection that was idle for 10 s, as it is on a busy host.
        self._call("GET", "/")
        request = self._timed(lambda: self._call("GET", "/"))[0]
        created, node = self.create()
        wall, cpu = 0.0, self._cpu()
        for verb, state in VERBS:
            began = time.perf_counter()
            self._call("PUT", f"/v1/nodes/{node['uuid']}/states/provision", {"target": verb})
            reached, released = self._await(node["uuid"], state)
            wall += (reached if verb == VERBS[-1][0] else released) - began
        return NodeCost(request, created, wall, self._cpu() - cpu)

    def create(self) -> tuple[float, Any]:
        """Make one node; the seconds that the request took, and the node."""
        return self._timed(
            lambda: self._call("POST", "/v1/nodes", {"driver": "fake-hardware", "resource_class": "bench"})
        )

    def _await(self, uuid: str, state: str) -> tuple[float, float]:
        """When the node was in this state, and when also its lock was gone."""
        deadline, reached = time.monotonic() + VERB_SECONDS, None
        while time.monotonic() < deadline:
            seen, lock, trouble = self.database.execute(
                "SELECT provision_state, reservation, last_error FROM nodes WHERE uuid = ?", (uuid,)
            ).fetchone()
            now = time.perf_counter()
            if seen == state:
                reached = reached or now
                if lock is None:
                    return reached, now
            elif trouble:
                break
            time.sleep(LOOK_SECONDS)
        raise IronicMissing(f"Ironic's node {uuid} is {seen} and not {state}: {trouble or self._last_words()}")

    def _cpu(self) -> float:
        return sum(time.clock_gettime(clock) for clock in self.clocks)

    @staticmethod
    def _timed(act: Any) -> tuple[float, Any]:
        began = time.perf_counter()
        answer = act()
        return time.perf_counter() - began, answer

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        try:
            self.client.request(method, path, None if body is None else json.dumps(body).encode(), API)
            answer = self.client.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise IronicMissing(f"Ironic: {method} {path} failed: {error!r}; {self._last_words()}") from error
        if answer.status >= 400:
            raise IronicMissing(f"Ironic: {method} {path} answered {answer.status}: {data[:300]!r}")
        return json.loads(data) if data else None

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise IronicMissing(f"Ironic ended as it started: {self._last_words()}")
            if (self.folder / "api.sock").exists():
                try:
                    self._call("GET", "/v1")
                    return
                except IronicMissing:
                    self.client.close()
            if time.monotonic() > deadline:
                raise IronicMissing(f"Ironic did not answer within {START_SECONDS} s: {self._last_words()}")
            time.sleep(0.1)

    def _last_words(self) -> str:
        for file in (self.log, self.folder / "output"):
            said = file.read_text(errors="replace").split("\n") if file.exists() else []
            if lines := [line for line in said if "ERROR" in line or "Error" in line]:
                return lines[-1][-300:]
        return "its log says nothing of an error"

    def _stop(self) -> None:
        """End the session that was started for it: politely, then not."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)


def _session(leader: int) -> list[int]:
    """The processes of this session: field 6 of /proc/PID/stat, proc(5)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.joinpath("stat").read_text(errors="replace").rpartition(")")[2].split()[3] == str(leader):
                    found.append(int(entry.name))
    return found


def _processor_clock(pid: int) -> int:
    """The clock of the processor time of a process, all threads that it ever had: what clock_getcpuclockid(3) gives.

    Exact to the nanosecond, where /proc/PID/stat counts ticks of 10 ms. Python has no call for it; the number is made as
    Linux does, include/linux/posix-timers_types.h: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED).
    """
    return (~pid << 3) | 2


# --- beside a benchmark ----------------------------------------------------------------------------------------------


class Beside:
    """Ironic beside a benchmark, or the reason why it is missing; a context manager.

    Call `walk` once for each machine of the benchmark, so that whatever else the machine does falls on both alike.
    """

    def __init__(self, cache: Path, folder: Path) -> None:
        """Nothing yet. cache: where the environment is kept; folder: for the state of this run."""
        self.cache, self.folder = cache, folder
        self.missing = ""
        self.costs: list[NodeCost] = []
        self.ironic: Ironic | None = None
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Install and start it."""
        try:
            self.ironic = self._running.enter_context(Ironic(prepare(self.cache), self.folder))
        except (IronicMissing, subprocess.TimeoutExpired) as error:
            self.missing = str(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._running.close()

    def create(self, count: int) -> list[float]:
        """Make nodes one after the other; the seconds of each. Empty where Ironic is missing."""
        if self.ironic is None:
            return []
        try:
            self.ironic.client.close()  # It hangs up on a client that is silent for long; the next call connects anew.
            return [self.ironic.create()[0] for _ in range(count)]
        except IronicMissing as error:
            self.missing, self.ironic = str(error), None
            return []

    def walk(self, counts: bool) -> None:
        """One node; it is measured if it `counts`, otherwise it only warms up."""
        if self.ironic is None:
            return
        try:
            cost = self.ironic.walk()
        except IronicMissing as error:
            self.missing, self.ironic = str(error), None
            return
        if counts:
            self.costs.append(cost)

    def promises(self, *promises: Promise) -> list[Figure]:
        """How our wall times compare. Without Ironic infinitely badly, as a promise that nobody checked is not kept."""
        if self.missing or not self.costs:
            why = f"the side-by-side figure is missing: {self.missing or 'no node was measured'}"
            return [Figure(one.name, float("inf"), "", why, one.limit) for one in promises]
        its = Measured.of(self.costs).inside
        return [
            Figure(
                one.name, one.wall / its, "", f"{one.wall * 1000:.4g} to {its * 1000:.4g} ms; {one.words}", one.limit
            )
            for one in promises
        ]

    def figures(self, cpu: float, created: float) -> list[Figure]:
        """Ironic's own seconds, and ours beside it without a limit (verbs: mean processor time; creating: median wall)."""
        if self.missing or not self.costs:
            return []
        its = Measured.of(self.costs)
        return [
            Figure(
                "  processor time of the verbs, ratio to Ironic", cpu / its.cpu, "", f"ours {cpu * 1000:.4g} ms, means"
            ),
            Figure(
                "  creating, ratio to Ironic",
                created / its.created,
                "",
                f"ours {created * 1000:.4g} ms, a boot included",
            ),
            Figure(
                "    Ironic: manage, provide, active, wall", its.wall * 1000, "ms", f"median of {len(self.costs)} nodes"
            ),
            Figure("    Ironic: the same, processor time", its.cpu * 1000, "ms", "mean, of all its processes"),
            Figure("    Ironic: create a node", its.created * 1000, "ms", "one request, median"),
            Figure(
                "    Ironic: its cheapest request",
                its.request * 1000,
                "ms",
                f"GET /, median; {len(VERBS)} are taken off",
            ),
        ]
