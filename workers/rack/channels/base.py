"""What a channel promises, and how channels are found."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import workers.rack.channels
from workers.rack.files import ServiceDirectories
from workers.rack.units import Units

COMMAND_SECONDS = 20.0
GIST_LINES, GIST_CHARACTERS = 3, 600
# Times, process names and numbers at the beginning of log lines; words of trouble, as the daemons in use write them.
_HEAD = re.compile(
    r"^\d{2,4}[-/]\S+[ T]\d{2}:\d{2}:\d{2}\S*\s*(kid\d+\|\s*)?(\w+\s+\[\S+/\S+\]\s*)?"
    r"|^\d{2}-\w{3}-\d{4} \d{2}:\d{2}:\d{2}\.\d+\s*"
)
_TELLING = re.compile(
    r"error|fatal|fail|refus|denied|bungled|cannot|unknown|invalid|not permitted|not found|bad |in use|expected|unexpected|expecting",
    re.IGNORECASE,
)


class ChannelError(Exception):
    """The daemon refused, or broke off; the text says what it said."""


class ChannelDown(ChannelError):
    """The daemon does not answer at all."""


@dataclass(frozen=True)
class ChannelContext:
    """One daemon on this rack: its directories (`current` already points at the new bundle) and the supervisor.

    previous: the release that ran before, None if there was none.
    """

    service: str
    directories: ServiceDirectories
    units: Units
    previous: Path | None = None


@runtime_checkable
class Channel(Protocol):
    """One way to make a running daemon take its new files."""

    @property
    def name(self) -> str:
        """The word services name it by."""

    def activate(self, context: ChannelContext) -> float:
        """Make the new files count; return the seconds in which the daemon may not have answered.

        ChannelError or UnitError: it may now run the old files, the new ones or neither; put last-good back.
        """


@cache
def channels() -> dict[str, Channel]:
    """All channels by name.  RuntimeError names a module whose CHANNEL is missing or whose name is taken."""
    found: dict[str, Channel] = {}
    for info in sorted(pkgutil.iter_modules(workers.rack.channels.__path__), key=lambda info: info.name):
        if info.name == "base":
            continue
        channel = getattr(importlib.import_module(f"workers.rack.channels.{info.name}"), "CHANNEL", None)
        if not isinstance(channel, Channel) or channel.name in found:
            raise RuntimeError(f"workers/rack/channels/{info.name}.py: needs a constant CHANNEL with a name of its own")
        found[channel.name] = channel
    return found


def run(argv: Sequence[str], seconds: float = COMMAND_SECONDS) -> str:
    """Run a control program to its end; its output.  ChannelError with what it said if it fails or hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise ChannelError(f"{argv[0]} did not end within {seconds:g} s") from error
    except OSError as error:
        raise ChannelError(f"{argv[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        name = next(word for word in argv if word != "env" and "=" not in word)
        said = gist(f"{done.stdout}\n{done.stderr}") or f"it ended with exit code {done.returncode} and said nothing"
        raise ChannelError(f"{name}: {said}")
    return done.stdout


def gist(text: str) -> str:
    """The lines of a daemon's output that say what is wrong (the last ones if none stands out), joined, times cut off."""
    lines = list(dict.fromkeys(_HEAD.sub("", line).strip() for line in text.splitlines()))
    # squid echoes every line that it has understood.
    lines = [line for line in lines if line and not line.startswith("Processing:")]
    telling = [line for line in lines if _TELLING.search(line)]
    return "; ".join((telling or lines)[-GIST_LINES:])[-GIST_CHARACTERS:]


def measured(action: Callable[[], object]) -> float:
    """Run something; the seconds it took."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def changed_files(context: ChannelContext) -> frozenset[str]:
    """Names of the files that differ between the previous and the present release; all of them without a previous one."""

    def contents(directory: Path) -> dict[str, bytes]:
        return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    new = contents(context.directories.current.resolve())
    old = contents(context.previous) if context.previous is not None and context.previous.is_dir() else {}
    return frozenset(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
