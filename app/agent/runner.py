"""
Running commands and functions with a deadline, and keeping what they say within bounds.

A command is a list of arguments, never a shell string. Each stream is kept up to 1 MiB and drained beyond that, so
that a talkative command neither fills the memory nor blocks. At its deadline the whole process group is killed.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TypeVar

from .errors import CommandFailed

OUTPUT_LIMIT = 1024 * 1024
_CHUNK = 64 * 1024
_TAIL = 600

T = TypeVar("T")


def say(text: str) -> None:
    """One line for the console."""
    print(f"muster: {text}", flush=True)


@dataclass(frozen=True)
class Completed:
    """How a command ended. `exit_code` is None when it was stopped at its deadline, 127 when there is no program."""

    argv: tuple[str, ...]
    exit_code: int | None
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def complaint(self) -> str:
        """One line that names the command, how it ended and the end of what it said."""
        said = (self.stderr or self.stdout).decode("utf-8", "replace").strip()[-_TAIL:].replace("\n", " | ")
        ended = "did not end in time" if self.exit_code is None else f"ended with {self.exit_code}"
        return f"`{' '.join(self.argv)}` {ended}: {said or '(it said nothing)'}"


class _Drain(threading.Thread):
    """Keeps the first OUTPUT_LIMIT bytes of a stream and reads the rest away."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = bytearray()
        self.start()

    def run(self) -> None:
        while chunk := os.read(self._stream.fileno(), _CHUNK):
            self._kept += chunk[: OUTPUT_LIMIT - len(self._kept)]

    def output(self) -> bytes:
        """What was kept; waits a little only, since a daemon left behind may hold the stream open."""
        self.join(timeout=2)
        return bytes(self._kept)


def run(argv: Sequence[str], timeout_seconds: float = 60.0) -> Completed:
    """Run a command to its end or its deadline. It gets no input and an English, UTF-8 locale."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    environment.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    words = tuple(argv)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        return Completed(words, 127, b"", f"{words[0]}: no such program in this image".encode())
    if process.stdout is None or process.stderr is None:
        raise AssertionError("stdout=PIPE and stderr=PIPE give pipes")
    with process.stdout, process.stderr:
        out, err = _Drain(process.stdout), _Drain(process.stderr)
        code: int | None
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            code = None
            _kill_group(process)
        return Completed(words, code, out.output(), err.output())


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        say(f"process {process.pid} cannot be killed; it hangs in the kernel")


def check(
    argv: Sequence[str], subject: str, timeout_seconds: float = 300.0, allowed: Sequence[int] = (0,), log: bool = True
) -> Completed:
    """Run a command that must succeed; CommandFailed names `subject` (a disk, a step) and what the command said."""
    if log:
        say(f"{subject}: {' '.join(argv)}")
    done = run(argv, timeout_seconds)
    if done.exit_code not in allowed:
        raise CommandFailed(f"{subject}: {done.complaint()}", done.exit_code, timed_out=done.exit_code is None)
    return done


class DeadlinePassed(Exception):
    """A function did not return in time; its thread is left behind and dies with the agent."""


def call_with_deadline(function: Callable[[], T], timeout_seconds: float) -> T:
    """Call a function in a thread of its own; DeadlinePassed when it takes longer, else its value or its exception."""
    values: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            values.append(function())
        except BaseException as error:  # Handed to the caller below.
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        raise DeadlinePassed()
    if errors:
        raise errors[0]
    return values[0]
