"""Running daemons: what a rack asks of the host's process supervisor.

`SupervisorUnits` talks to supervisord (XML-RPC on a unix socket, supervisord's manual, "XML-RPC API Documentation") and
writes one program section for each service, so that daemons start with the host and come back when they die, without
the agent.  `workers.rack.systemd.SystemdUnits` does so with systemd, `FakeUnits` keeps the same promises in memory; one
conformance suite holds all three.
"""

from __future__ import annotations

import http.client
import shlex
import socket
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from workers.rack.files import write_atomically

START_SECONDS = 10.0
STOP_SECONDS = 10
LOG_BYTES = 5_000_000
SAID_BYTES = 1 << 16
# Faults of supervisord's RPC interface (supervisor.xmlrpc.Faults).
_BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING, _ALREADY_ADDED, _STILL_RUNNING = 10, 60, 70, 90, 91


class UnitError(Exception):
    """The supervisor cannot be reached, or did not do what it was asked; told: its text holds what the daemon said."""

    def __init__(self, text: str, told: bool = False) -> None:
        """Say what happened."""
        super().__init__(text)
        self.told = told


@dataclass(frozen=True)
class Unit:
    """One daemon: what is run in the foreground, and with which environment."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


class Units(Protocol):
    """Daemons by name.  Every method may raise UnitError."""

    def install(self, unit: Unit) -> bool:
        """See that the unit is known and will start with the host (a new one may start now); True if anything changed."""

    def remove(self, name: str) -> None:
        """Stop and forget; harmless if it is unknown."""

    def is_known(self, name: str) -> bool:
        """Whether it is installed."""

    def start(self, name: str) -> None:
        """Start, and return when the process runs; harmless if it does.  UnitError if it does not stay."""

    def stop(self, name: str) -> None:
        """Stop, and return when the process is gone; harmless if it is."""

    def restart(self, name: str) -> None:
        """Stop and start."""

    def is_running(self, name: str) -> bool:
        """Whether a process runs; False for a unit that is unknown."""

    def signal(self, name: str, signal_name: str) -> None:
        """Send a signal, as in `HUP`.  UnitError if no process runs."""

    def pid(self, name: str) -> int | None:
        """The process, if one runs."""

    def mark(self, name: str) -> str:
        """This moment in what the daemon says, for `said`."""

    def said(self, name: str, mark: str) -> tuple[str, str]:
        """The last of what it has said since then, empty if nothing; and where a person finds all of it."""


def program_section(unit: Unit, log_directory: Path) -> str:
    """The text of a unit's file.  A per cent sign starts a substitution there, so it is doubled."""

    def plain(value: str) -> str:
        if "\n" in value or "\0" in value:
            raise UnitError(f"unit {unit.name}: {value!r} holds a line break; commands are one line")
        return value.replace("%", "%%")

    environment = ",".join(f'{name}="{plain(value)}"' for name, value in unit.environment)
    return "\n".join(
        [
            f"[program:{unit.name}]",
            f"command={plain(shlex.join(unit.command))}",
            *([f"environment={environment}"] if environment else []),
            "autostart=true",
            "autorestart=true",
            "startsecs=1",
            "startretries=1000",
            f"stopwaitsecs={STOP_SECONDS}",
            "stopasgroup=true",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={plain(str(log_directory / unit.name))}.log",
            f"stdout_logfile_maxbytes={LOG_BYTES}",
            "stdout_logfile_backups=2",
            "",
        ]
    )


class SupervisorUnits:
    """Units of a supervisord that includes `<root>/units/*.conf`."""

    def __init__(self, root: Path, socket_path: Path) -> None:
        self._directory = root / "units"
        self._logs = root / "log"
        self._socket = socket_path

    def install(self, unit: Unit) -> bool:
        """Write the section if it differs, and have supervisord read it, which starts it; a changed unit is stopped before."""
        path = self._directory / f"{unit.name}.conf"
        wanted = program_section(unit, self._logs)
        changed = not path.exists() or path.read_text() != wanted
        if changed:
            self._logs.mkdir(parents=True, exist_ok=True)
            write_atomically(path, wanted.encode(), mode=0o600)
        known = self._info(unit.name) is not None
        if known and not changed:
            return False
        self._call("reloadConfig")
        if known:
            self.stop(unit.name)
            self._call("removeProcessGroup", unit.name)
        self._call("addProcessGroup", unit.name, accept=(_ALREADY_ADDED,))
        return True

    def remove(self, name: str) -> None:
        """Stop, forget, delete the section."""
        (self._directory / f"{name}.conf").unlink(missing_ok=True)
        if self._info(name) is None:
            return
        self.stop(name)
        self._call("removeProcessGroup", name, accept=(_BAD_NAME,))

    def is_known(self, name: str) -> bool:
        """Whether its section is there, for a supervisord that runs or for the next one."""
        return (self._directory / f"{name}.conf").exists()

    def start(self, name: str) -> None:
        """Start; the process counts as running as soon as it has been spawned and is alive."""
        info = self._info(name)
        if info is None:
            raise UnitError(f"unit {name}: supervisord does not know it; install it first")
        if info["statename"] not in ("RUNNING", "STARTING"):
            self._call("startProcess", name, False, accept=(_ALREADY_STARTED,))
        self._wait(name, lambda state: state in ("RUNNING", "STARTING"), "start")

    def stop(self, name: str) -> None:
        """Stop and wait until the process is gone."""
        if self._info(name) is None:
            return
        self._call("stopProcess", name, False, accept=(_NOT_RUNNING, _BAD_NAME))
        self._wait(name, lambda state: state in ("STOPPED", "EXITED", "FATAL", ""), "stop", STOP_SECONDS + 5)

    def restart(self, name: str) -> None:
        """Stop and start."""
        self.stop(name)
        self.start(name)

    def is_running(self, name: str) -> bool:
        """Running, or started less than a second ago."""
        info = self._info(name)
        return info is not None and info["statename"] in ("RUNNING", "STARTING")

    def signal(self, name: str, signal_name: str) -> None:
        """By way of supervisord, so that it cannot hit a process that has the number since."""
        self._call("signalProcess", name, signal_name)

    def pid(self, name: str) -> int | None:
        """The process supervisord started."""
        info = self._info(name)
        return int(info["pid"]) if info is not None and info["pid"] else None

    def mark(self, name: str) -> str:
        """The length of its log."""
        path = self._log(name)
        return str(path.stat().st_size if path.exists() else 0)

    def said(self, name: str, mark: str) -> tuple[str, str]:
        """The end of its log, and the log; all of it if supervisord has begun a new one since."""
        path = self._log(name)
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                file.seek(max(int(mark) if int(mark) <= size else 0, size - SAID_BYTES))
                return file.read(SAID_BYTES).decode(errors="replace"), str(path)
        except OSError:
            return "", str(path)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _info(self, name: str) -> dict[str, Any] | None:
        info = self._call("getProcessInfo", name, accept=(_BAD_NAME,))
        return info if isinstance(info, dict) else None

    def _wait(self, name: str, reached: Callable[[str], bool], verb: str, seconds: float = START_SECONDS) -> None:
        end = time.monotonic() + seconds
        while True:
            info = self._info(name)
            state = "" if info is None else str(info["statename"])
            if reached(state):
                return
            if state in ("BACKOFF", "FATAL") and verb == "start":
                raise UnitError(f"unit {name}: the process ends as soon as it starts")
            if time.monotonic() > end:
                raise UnitError(f"unit {name}: did not {verb} within {seconds:g} s, it is {state}")
            time.sleep(0.05)

    def _call(self, method: str, *arguments: Any, accept: tuple[int, ...] = ()) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(self._socket))
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in accept:
                return None
            raise UnitError(f"supervisord refuses {method} {arguments}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise UnitError(f"supervisord does not answer on {self._socket} ({error}); start it") from error


class FakeUnits:
    """Units in memory; `calls` is what was asked, `refusing` the units whose start fails."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.running: dict[str, int] = {}
        self.calls: list[tuple[str, ...]] = []
        self.refusing: set[str] = set()
        self._next_pid = 100

    def install(self, unit: Unit) -> bool:
        """Remember; a changed unit is stopped."""
        if self.units.get(unit.name) == unit:
            return False
        self.units[unit.name] = unit
        self.running.pop(unit.name, None)
        self.calls.append(("install", unit.name))
        return True

    def remove(self, name: str) -> None:
        """Forget."""
        self.units.pop(name, None)
        self.running.pop(name, None)
        self.calls.append(("remove", name))

    def is_known(self, name: str) -> bool:
        """Whether it is remembered."""
        return name in self.units

    def start(self, name: str) -> None:
        """Give it a process number."""
        if name not in self.units:
            raise UnitError(f"unit {name}: not installed; install it first")
        if name in self.refusing:
            raise UnitError(f"unit {name}: the process ends as soon as it starts")
        if name not in self.running:
            self._next_pid += 1
            self.running[name] = self._next_pid
            self.calls.append(("start", name))

    def stop(self, name: str) -> None:
        """Take the process number away."""
        self.running.pop(name, None)
        self.calls.append(("stop", name))

    def restart(self, name: str) -> None:
        """Stop and start."""
        self.stop(name)
        self.start(name)

    def is_running(self, name: str) -> bool:
        """Whether it has a process number."""
        return name in self.running

    def signal(self, name: str, signal_name: str) -> None:
        """Remember the signal."""
        if name not in self.running:
            raise UnitError(f"unit {name}: no process runs")
        self.calls.append(("signal", name, signal_name))

    def pid(self, name: str) -> int | None:
        """The process number."""
        return self.running.get(name)

    def mark(self, name: str) -> str:
        """Nothing is said here."""
        return ""

    def said(self, name: str, mark: str) -> tuple[str, str]:
        """Nothing is said here."""
        return "", "nowhere"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=STOP_SECONDS + 10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)
