"""The rack host's process supervisor: supervisord inside the rack's namespace, in the place systemd has on a real rack.

It runs the rack's own processes from the start, and whatever the rack adds as `<root>/units/*.conf` (reread and
update over `<root>/run/supervisor.sock`). It is tethered to the lab (`lab.tether`), so Ctrl-C does not reach it and a
killed lab ends it.
"""

import contextlib
import http.client
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab import tether
from lab.network import VirtualSite, check_path, check_socket_path
from lab.process import ProcessName, end_processes, name_process

START_SECONDS = 20.0


@dataclass(frozen=True)
class Program:
    """One process that the supervisor keeps running."""

    name: str
    argv: tuple[str, ...]


def rack_programs(*arguments: str, python: str = sys.executable) -> tuple[Program, ...]:
    """Return the rack's own processes, `muster-rack agent` and `muster-rack power`; both get the arguments."""
    return tuple(
        Program(f"muster-rack-{role}", (python, "-m", "workers.rack", role, *arguments)) for role in ("agent", "power")
    )


def configuration(root: Path, programs: Sequence[Program]) -> str:
    """Return supervisord's configuration for a rack whose files are under `root`; pure."""
    head = f"""\
[unix_http_server]
file={root}/run/supervisor.sock
chmod=0700

[supervisord]
nodaemon=true
user=root
directory={root}
logfile={root}/log/supervisord.log
pidfile={root}/run/supervisord.pid
childlogdir={root}/log
identifier=muster-rack

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{root}/run/supervisor.sock

[include]
files={root}/units/*.conf
"""
    return head + "".join(_section(root, program) for program in programs)


def _section(root: Path, program: Program) -> str:
    # A per cent sign starts a substitution in supervisord's files, so it is doubled.
    command = shlex.join(program.argv).replace("%", "%%")
    return f"""
[program:{program.name}]
command={command}
autostart=true
autorestart=true
startsecs=1
startretries=1000
stopwaitsecs=5
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={root}/log/{program.name}.log
"""


class Supervisor:
    """supervisord for one site's rack; a context manager that starts it and ends it with all its programs."""

    def __init__(
        self,
        site: VirtualSite | None,
        root: Path,
        programs: Sequence[Program],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the supervisor; every program inherits `environment`, which is in no file and no argument.

        Without a site it runs on the host itself, for a rack on loopback.
        """
        check_path(root)
        self.site = site
        self.root = root
        self.programs = tuple(programs)
        self.environment = dict(environment or {})
        self.socket = root / "run" / "supervisor.sock"
        check_socket_path(self.socket)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Write the configuration and start; returns when the supervisor answers."""
        for name in ("run", "log", "units"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        path = self.root / "supervisord.conf"
        path.write_text(configuration(self.root, self.programs), encoding="utf-8")
        argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(path)]
        with (self.root / "log" / "supervisord.out").open("ab") as log:
            prefix = self.site.exec_argv(self.site.rack) if self.site else []
            self._process = tether.start(argv, prefix=prefix, log=log, environment=self.environment)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise RuntimeError(f"supervisord did not start: see {self.root}/log/supervisord.out")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every program, then the supervisor."""
        self.end()

    def end(self) -> None:
        """End every program, then the supervisor; harmless when it has ended.

        A program that outlived its supervisor is ended here. (One that is sent SIGTERM in the moment between fork and
        exec never sees it: supervisord waits `stopwaitsecs` and kills it.)
        """
        process, self._process = self._process, None
        if process is not None:
            programs = self._running()
            with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
                # All at once.  supervisord, told to end, ends one after the other and looks once a second.
                self.call("stopAllProcesses", False)
            tether.stop(process)
            end_processes(programs)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call one method of supervisord's XML-RPC interface, as in `call("getAllProcessInfo")`."""
        with xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(self.socket)) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def states(self) -> dict[str, str]:
        """Return the state of every program by its name: RUNNING, STARTING, BACKOFF, FATAL, ..."""
        return {entry["name"]: entry["statename"] for entry in self.call("getAllProcessInfo")}

    def _running(self) -> list[ProcessName]:
        try:
            pids = [entry["pid"] for entry in self.call("getAllProcessInfo")]
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return []
        return [name for pid in pids if pid and (name := name_process(pid)) is not None]

    def _answers(self) -> bool:
        try:
            return bool(self.call("getState")["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)
