"""The DHCP servers' own checkers, run on this host on what would be rendered for a rack.

A rack's files name its interfaces, sockets, libraries, secrets and included files, which are not here, so they go; what
is left is judged by the very parser that will read it.  The rack checks the whole again before it uses it.
The checker runs without a shell, as a process group of its own, with a deadline, limits of memory and file size, an empty
environment, a directory of its own, and no network where this host lets us take it away.  At most `AT_ONCE` run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from renderers.bundle import SECRET_REFERENCE, Bundle

SECONDS = 20.0
AT_ONCE = 2
WAIT_SECONDS = 10.0
LONGEST_WORDS = 2000
_LIMITS = ("prlimit", "--cpu=15", "--as=2147483648", "--fsize=16777216", "--nofile=128", "--core=0")
_NO_SECRET = "bm8gc2VjcmV0IGlzIGhlcmU="  # noqa: S105 - base64, as keys are written
_INCLUDE = re.compile(r"<\?include [^?]*\?>")
_FILE = "the-configuration"
_KEA_PLACE = re.compile(rf"{_FILE}:(\d+)[:.]\d+")
_DHCPD_PLACE = re.compile(rf"{_FILE} line (\d+): ")
# Places are of a file that nobody sees; the line of the snippet is told apart.
_PLACES = re.compile(rf"\s*\({_FILE}:\d+:\d+\)|{_FILE}:[0-9.:-]+\s*|{_FILE} line \d+: ")
_HEAD = re.compile(r"^(Error encountered: |\S+ \S+ +\w+ +\[[^\]]*\] )")
_ONLY_ON_THE_RACK = (
    *("control-socket", "control-sockets", "hooks-libraries", "hosts-database", "hosts-databases", "server-id"),
    "data-directory",
)
_places = threading.BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """Too many checks at once."""


@dataclass(frozen=True)
class Judgement:
    """What a checker said. text: the file it has read; line: the line of that which it names, if it names one."""

    program: str
    ok: bool
    said: str = ""
    text: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Checker:
    """How one service's files are checked here. prepare: from the rendered text to one that means the same on any host."""

    file: str
    program: str
    arguments: tuple[str, ...]
    prepare: Callable[[str, list[dict[str, Any]]], str]
    place: re.Pattern[str]


def installed(service: str) -> bool:
    """Whether the service's checker is on this host."""
    checker = CHECKERS.get(service)
    return checker is not None and _path(checker.program) is not None


def judge(bundle: Bundle, reservations: list[dict[str, Any]]) -> Judgement:
    """Have the service's checker read its file of a bundle. reservations: hosts to put into the first subnet.

    Busy when too many are at it; the checker must be `installed`.
    """
    checker = CHECKERS[bundle.service]
    text = prepared(bundle, reservations)
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise Busy(f"{AT_ONCE} checks are running and take longer than {WAIT_SECONDS:g} s")
    try:
        code, said = _run(checker, text)
    finally:
        _places.release()
    return judgement(bundle.service, text, code == 0, said)


def prepared(bundle: Bundle, reservations: list[dict[str, Any]]) -> str:
    """The service's file of a bundle as a checker on any host may read it."""
    checker = CHECKERS[bundle.service]
    rendered = next(file.text for file in bundle.files if file.path == checker.file)
    # Secrets of a rack are on the rack; something of their form stands for them.
    return checker.prepare(SECRET_REFERENCE.sub(_NO_SECRET, rendered), reservations)


def judgement(service: str, text: str, ok: bool, output: str) -> Judgement:
    """What a checker means by its output about a text, here or on a rack; the file is called `the-configuration` there."""
    checker = CHECKERS[service]
    if ok:
        return Judgement(checker.program, True, text=text)
    said = _gist(output)
    found = checker.place.search(said)
    return Judgement(checker.program, False, _PLACES.sub("", said), text, int(found[1]) if found else None)


def _run(checker: Checker, text: str) -> tuple[int, str]:
    program = _path(checker.program)
    if program is None:
        raise FileNotFoundError(checker.program)
    with tempfile.TemporaryDirectory(prefix="muster-check-") as folder:
        path = Path(folder, "checked.conf")
        path.write_text(text)
        argv = [*_alone(), *_LIMITS, program, *(word.replace("{file}", str(path)) for word in checker.arguments)]
        environment = {
            "PATH": os.defpath, "LC_ALL": "C", "KEA_LOCKFILE_DIR": "none", "KEA_PIDFILE_DIR": folder, "TMPDIR": folder
        }  # fmt: skip
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return 1, f"{checker.program} did not end within {SECONDS:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output.decode(errors="replace").replace(str(path), _FILE)


def _gist(output: str) -> str:
    """The lines that say what is wrong, once each; what the checker says at the end goes before its log."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # Kea ends with what it logged before; dhcpd tells the line, then shows it, then how to report bugs.
    final = [line for line in lines if line.startswith("Error encountered:")]
    telling = final or [line for line in lines if _DHCPD_PLACE.search(line) or " ERROR " in line] or lines
    said = dict.fromkeys(_HEAD.sub("", line) for line in telling)
    return "; ".join(said)[:LONGEST_WORDS]


@cache
def _alone() -> tuple[str, ...]:
    """The words that start a program without a network, none where this host does not let us."""
    for words in (("unshare", "--net", "--"), ("unshare", "--user", "--map-root-user", "--net", "--")):
        try:
            done = subprocess.run([*words, "true"], capture_output=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return words
    return ()


def _path(program: str) -> str | None:
    """Where the program is; servers are in directories that a service's PATH often lacks."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def _prepare_kea(text: str, reservations: list[dict[str, Any]]) -> str:
    """Kea's file without what is only on the rack."""
    data = json.loads(_INCLUDE.sub("", text))
    (top,) = data
    whole = data[top]
    whole["interfaces-config"] = {"interfaces": []}
    whole["lease-database"] = {"type": "memfile", "persist": False}
    for key in _ONLY_ON_THE_RACK:
        whole.pop(key, None)
    subnets = [*whole.get(f"subnet{top[-1]}", [])]
    for network in whole.get("shared-networks", []):
        network.pop("interface", None)
        subnets += network.get(f"subnet{top[-1]}", [])
    for subnet in subnets:
        subnet.pop("interface", None)
        subnet["reservations"] = reservations
        reservations = []
    return json.dumps(data, indent=2) + "\n"


def _prepare_dhcpd(text: str, reservations: list[dict[str, Any]]) -> str:
    """dhcpd's file without the files it includes and the ways to control it."""
    return re.sub(r'(?m)^\s*(include "[^"]*"|omapi-(port|key) [^;]*);$', "", text)


CHECKERS = {
    "kea4": Checker("kea-dhcp4.conf", "kea-dhcp4", ("-t", "{file}"), _prepare_kea, _KEA_PLACE),
    "kea6": Checker("kea-dhcp6.conf", "kea-dhcp6", ("-t", "{file}"), _prepare_kea, _KEA_PLACE),
    "dhcpd": Checker("dhcpd.conf", "dhcpd", ("-4", "-t", "-cf", "{file}"), _prepare_dhcpd, _DHCPD_PLACE),
    "dhcpd6": Checker("dhcpd6.conf", "dhcpd", ("-6", "-t", "-cf", "{file}"), _prepare_dhcpd, _DHCPD_PLACE),
}
"""By service. A service that is not here has no checker that needs to be asked about snippets."""
