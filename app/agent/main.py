"""
The course of a run: read the command line, fetch the task, do it, report, and then power off or restart.

Whatever goes wrong is reported as `failed` with a sentence; an error that nobody foresaw adds the end of its
traceback. `then` happens only after the control plane has accepted `finished`: a machine whose success nobody has
heard of stays up.
"""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import cmdline, commission, enlist, erase, install
from .cmdline import BootParameters
from .edge import Edge
from .errors import AgentError
from .journal import JournalSender
from .runner import Completed, run, say

_TRACEBACK_TAIL = 3000
_THEN = {"poweroff": ["systemctl", "poweroff"], "reboot": ["systemctl", "reboot"]}

Purpose = Callable[[Edge, BootParameters, dict[str, Any]], str]


def _enlist(edge: Edge, boot: BootParameters, task: dict[str, Any]) -> str:
    return enlist.enlist(edge, boot)


def _commission(edge: Edge, boot: BootParameters, task: dict[str, Any]) -> str:
    return commission.commission(edge, task.get("scripts") or [])


def _install(edge: Edge, boot: BootParameters, task: dict[str, Any]) -> str:
    return install.install(edge, task.get("install"), str(task.get("hostname") or ""))


def _erase(edge: Edge, boot: BootParameters, task: dict[str, Any]) -> str:
    return erase.erase(edge, task.get("erase"))


PURPOSES: dict[str, Purpose] = {"enlist": _enlist, "commission": _commission, "install": _install, "erase": _erase}


def explain(error: BaseException) -> str:
    """The message of a `failed` report: a sentence, and the end of the traceback for what nobody foresaw."""
    if isinstance(error, AgentError):
        return str(error)
    trace = "".join(traceback.format_exception(error))[-_TRACEBACK_TAIL:]
    return f"unexpected error in the agent: {type(error).__name__}: {error}\n{trace}"


def finish(then: str, runner: Callable[[list[str]], Completed] = run) -> int:
    """Power off or restart, if the task says so; the exit code."""
    command = _THEN.get(then)
    if command is None:
        say(f"nothing to do after the task (then: {then!r})")
        return 0
    say(f"done; {then}")
    done = runner(command)
    if not done.ok:
        say(f"{then} failed: {done.complaint()}")
        return 1
    return 0


def perform(edge: Edge, boot: BootParameters, runner: Callable[[list[str]], Completed] = run) -> int:
    """Do this machine's task; the exit code, which is 0 only when the control plane has accepted the result."""
    try:
        task = edge.task()
    except AgentError as error:
        say(str(error))
        return 1
    purpose = str(task.get("purpose"))
    try:
        say(f"{purpose}: started")
        edge.status("started", purpose, f"{purpose} started")
        if purpose not in PURPOSES:
            raise AgentError(f"task: purpose {purpose!r} is unknown to this agent; it knows {', '.join(PURPOSES)}")
        message = PURPOSES[purpose](edge, boot, task)
        say(f"{purpose}: {message}")
        edge.status("finished", purpose, message, 1.0)
    except Exception as error:  # The last line of defence: every failure must reach the operator.
        message = explain(error)
        say(f"{purpose}: failed: {message}")
        try:
            edge.status("failed", purpose, message)
        except AgentError as unreported:
            say(f"the failure could not be reported: {unreported}")
        return 1
    return finish(str(task.get("then")), runner)


def main(cmdline_path: str = "/proc/cmdline") -> int:
    """The zipapp's entry; the exit code."""
    try:
        boot = cmdline.parse(Path(cmdline_path).read_text())
    except (AgentError, OSError, ValueError) as error:
        say(str(error))
        return 2
    say(f"agent on Python {sys.version.split()[0]}, control plane at {boot.url}")
    journal = JournalSender(boot.url)
    journal.start()
    try:
        return perform(Edge(boot.url, boot.token), boot)
    finally:
        journal.close()
