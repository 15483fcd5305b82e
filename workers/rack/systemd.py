"""Running daemons by systemd: `SystemdUnits`, beside `SupervisorUnits` and with the same promises (`workers.rack.units`).

Each daemon is a unit of its own, `/etc/systemd/system/muster-<service>.service`, so that it starts with the host and
comes back when it dies, without the agent and without the control plane.  systemd is asked by systemctl(1), its words
for a daemon that does not stay are those of journalctl(1).  A drop-in (`systemctl edit muster-kea4`) is the operator's
and stays; a masked unit is left alone and said to be masked.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

from workers.rack.files import write_atomically
from workers.rack.units import SAID_BYTES, STOP_SECONDS, Unit, UnitError

DIRECTORY = Path("/etc/systemd/system")
TMPFILES = Path("/etc/tmpfiles.d/muster-rack.conf")
RUNNING = Path("/run/systemd/system")
"""Exists where the host was booted by systemd (sd_booted(3))."""
STAY_SECONDS = 0.1
"""How long a daemon must have run to count as started; what it does later its probes see."""
ANSWER_SECONDS = 20
START_SECONDS = 60
"""While the host boots, a start waits until its network is there."""
LAST_LINES = 20
HARDENING = (
    "NoNewPrivileges=yes",
    "ProtectSystem=full",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
)
"""What none of the daemons needs. They drop their other privileges themselves, as they do under any supervisor."""
_PROPERTIES = "LoadState,ActiveState,SubState,MainPID,NRestarts,NeedDaemonReload,UnitFileState,Result,ExecMainStatus"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def unit_name(name: str) -> str:
    """The unit of a service.  UnitError for a name that would be another unit's."""
    if not _NAME.fullmatch(name):
        raise UnitError(f"unit {name!r}: a name has small letters, digits, - and _ only")
    return f"muster-{name}.service"


def unit_file(unit: Unit) -> str:
    """The text of a unit's file.  UnitError for a word that systemd has no way to write."""
    command = " ".join(quoted(word).replace("$", "$$") for word in unit.command)
    for name, _ in unit.environment:
        if not _VARIABLE.fullmatch(name):
            raise UnitError(f"unit {unit.name}: {name!r} is no name of an environment variable")
    environment = [f"Environment={quoted(f'{name}={value}')}" for name, value in unit.environment]
    return "\n".join(
        [
            "# Written by muster-rack and overwritten by it; `systemctl edit` adds what stays.",
            "[Unit]",
            f"Description=Muster rack service {unit.name}",
            # A DHCP server is deaf on an interface that is not there yet.
            "Wants=network-online.target",
            "After=network-online.target",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=exec",
            f"ExecStart={command}",
            *environment,
            "Restart=always",
            "RestartSec=1",
            # The first process ends its own; what is left then is killed.
            "KillMode=mixed",
            f"TimeoutStopSec={STOP_SECONDS}",
            f"SyslogIdentifier=muster-{unit.name}",
            *HARDENING,
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def quoted(word: str) -> str:
    """One word in double quotes, escaped as systemd.syntax(7) says; % begins a specifier there, so it is doubled.

    UnitError for what has no way to be written: a zero byte, and bytes that are not UTF-8.
    """
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise UnitError(f"{word!r} is not UTF-8, which systemd's files are") from error
    if "\0" in word:
        raise UnitError(f"{word!r} holds a zero byte, which no argument can")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + "".join(f"\\x{ord(one):02x}" if ord(one) < 32 or ord(one) == 127 else one for one in escaped) + '"'


def _messages(entries: str) -> list[str]:
    """The messages among a journal's entries, one in JSON on each line, without what systemd itself says of its units."""
    found = []
    for line in entries.splitlines():
        entry = json.loads(line)
        said = entry.get("MESSAGE")
        if entry.get("_PID") == "1" or said is None:
            continue
        # What is not UTF-8, or holds control characters, comes as a list of bytes.
        found.append(said if isinstance(said, str) else bytes(said).decode(errors="replace"))
    return found


class SystemdUnits:
    """Units of the systemd that runs this host."""

    def __init__(self, root: Path) -> None:
        """Keep to one rack's state directory; nothing is asked or written yet."""
        self._root = root

    def install(self, unit: Unit) -> bool:
        """Write the file if it differs, have systemd read it and start it with the host; a changed unit is stopped before."""
        full = unit_name(unit.name)
        path = DIRECTORY / full
        wanted = unit_file(unit)
        if path.is_symlink():
            raise UnitError(
                f"unit {unit.name}: {path} is a link to {path.readlink()}, so somebody keeps {full} from running;"
                f" `systemctl unmask {full}` lets it run"
            )
        self._clear_at_boot()
        info = self._show(unit.name)
        differs = not path.exists() or path.read_text(errors="replace") != wanted
        # An earlier install may have been interrupted after it wrote the file.
        unread = info["LoadState"] != "loaded" or info["NeedDaemonReload"] == "yes"
        if not differs and not unread and info["UnitFileState"] == "enabled":
            return False
        if differs:
            self.stop(unit.name)
            write_atomically(path, wanted.encode(), mode=0o644)
        self._call(unit.name, "enable", "--quiet", "--no-reload", full)
        self._call(unit.name, "daemon-reload")
        return True

    def remove(self, name: str) -> None:
        """Stop, disable, delete the file."""
        full = unit_name(name)
        if not self.is_known(name) and self._show(name)["LoadState"] != "loaded":
            return
        self.stop(name)
        self._call(name, "disable", "--quiet", "--no-reload", full)
        (DIRECTORY / full).unlink(missing_ok=True)
        self._call(name, "daemon-reload")

    def is_known(self, name: str) -> bool:
        """Whether its file is there."""
        return (DIRECTORY / unit_name(name)).is_file()

    def start(self, name: str) -> None:
        """Start; the process counts as running when it has been executed and lives a moment later."""
        if self._show(name)["LoadState"] == "not-found":
            raise UnitError(f"unit {name}: systemd does not know it; install it first")
        begin = self.mark(name)
        self._call(name, "start", unit_name(name), since=begin, seconds=START_SECONDS)
        first = self._show(name)
        time.sleep(STAY_SECONDS)
        info = self._show(name)
        if info["ActiveState"] != "active" or info["MainPID"] != first["MainPID"]:
            text = f"unit {name}: the process ends as soon as it starts{self._words(name, begin, info)}"
            raise UnitError(text, told=True)

    def stop(self, name: str) -> None:
        """Stop and wait until the process is gone, which systemd kills when it has not ended by itself."""
        if self._show(name)["LoadState"] == "not-found":
            return
        self._call(name, "stop", unit_name(name), seconds=STOP_SECONDS + 10)

    def restart(self, name: str) -> None:
        """Stop and start."""
        self.stop(name)
        self.start(name)

    def is_running(self, name: str) -> bool:
        """Whether its process runs; not while systemd waits a second before it starts a dead one again."""
        return self.pid(name) is not None

    def signal(self, name: str, signal_name: str) -> None:
        """By way of systemd, so that it cannot hit a process that has the number since; only the daemon's first process."""
        if not self.is_running(name):
            raise UnitError(f"unit {name}: no process runs that could get {signal_name}; start it first")
        self._call(name, "kill", "--kill-whom=main", f"--signal={signal_name}", unit_name(name))

    def pid(self, name: str) -> int | None:
        """The unit's main process."""
        info = self._show(name)
        return int(info["MainPID"]) or None if info["ActiveState"] in ("active", "reloading") else None

    def mark(self, name: str) -> str:
        """A moment in the journal."""
        return f"@{time.time():.6f}"

    def said(self, name: str, mark: str) -> tuple[str, str]:
        """What the journal has of it since then, and the command that shows it."""
        full = unit_name(name)
        where = f"journalctl -u {full}"
        try:
            # What a process wrote just before it ended may be on its way still.
            subprocess.run(["journalctl", "--sync"], capture_output=True, timeout=ANSWER_SECONDS, check=False)
            argv = ["journalctl", "--quiet", "--no-pager", "--all", "--output=json", f"--since={mark}"]
            # What systemd's child says that cannot execute the daemon is its word too; the journal may not know its unit.
            argv += [f"_SYSTEMD_UNIT={full}", "+", f"UNIT={full}", "_UID=0"]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return "", where
        return "\n".join(_messages(done.stdout))[-SAID_BYTES:], where

    def _clear_at_boot(self) -> None:
        """Have pid files deleted when the host boots: what had the number may be anybody now, and Kea then refuses to start."""
        files = quoted(str(self._root / "services/*/run/*.pid"))
        text = f"# Written by muster-rack: pid files from before the host booted (tmpfiles.d(5)).\nr! {files}\n"
        if not TMPFILES.exists() or TMPFILES.read_text(errors="replace") != text:
            write_atomically(TMPFILES, text.encode())

    def _show(self, name: str) -> dict[str, str]:
        said = self._call(name, "show", f"--property={_PROPERTIES}", unit_name(name))
        info = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        missing = [word for word in _PROPERTIES.split(",") if word not in info]
        if missing:
            raise UnitError(f"unit {name}: systemctl show says nothing of {', '.join(missing)}: {said.strip()!r}")
        return info

    def _call(self, name: str, *words: str, since: str | None = None, seconds: float = ANSWER_SECONDS) -> str:
        argv = ["systemctl", "--no-ask-password", "--no-pager", *words]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError as error:
            raise UnitError(f"unit {name}: systemctl is not installed, so systemd cannot be asked") from error
        except subprocess.TimeoutExpired as error:
            said = self._words(name, since) if since else ""
            text = f"unit {name}: systemctl {words[0]} was not done within {seconds:g} s{said}"
            raise UnitError(text, told=bool(said)) from error
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            said = self._words(name, since) if since else ""
            raise UnitError(f"unit {name}: systemctl {words[0]}: {reason}{said}", told=bool(said))
        return done.stdout

    def _words(self, name: str, since: str, info: dict[str, str] | None = None) -> str:
        """How a daemon ended and its last lines, as the end of a sentence."""
        text, where = self.said(name, since)
        lines = "; ".join(line.strip() for line in text.splitlines()[-LAST_LINES:] if line.strip())
        result = f" ({info['Result']}, exit status {info['ExecMainStatus']})" if info else ""
        return f"{result}: {lines or 'it said nothing'} (see `{where}`)"
