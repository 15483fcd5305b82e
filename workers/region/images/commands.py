"""Run the programs a build needs, and tell what went wrong with the end of their output.

Each program is an argument list in its own session and its own mount namespace (`unshare --mount`), so whatever it
mounts is gone when it ends. Programs of one build run on several threads; `Commands.stop` ends them all.
"""

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TAIL_LINES = 25
PATIENCE_SECONDS = 20.0


class BuildError(Exception):
    """The image cannot be built; the message is a whole sentence for the operator."""


def failure(argv: Sequence[str], code: int, output: str, log: str) -> str:
    """The error text for a program that ended with `code` (negative: the signal that killed it)."""
    how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    lines = [line for line in output.splitlines() if line.strip()][-TAIL_LINES:]
    said = "\n".join(f"  {line}" for line in lines) if lines else "  (it said nothing)"
    command = shlex.join(argv)
    if len(command) > 400:
        command = command[:400] + " ..."
    return f"`{command}` {how}. The whole output is in {log}; it ends:\n{said}"


class Commands:
    """Runs programs; `logs` is the directory that keeps each one's output."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        logs.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run `argv` and return its output (both streams, as UTF-8); `name` names the log.

        Raises BuildError if it cannot be started, fails, or the build was stopped.
        """
        log = self.logs / f"{name}.log"
        with log.open("ab") as output:
            start = output.tell()
            process = self._start(argv, output.fileno(), stdin is not None, environment)
            try:
                if stdin is not None and process.stdin is not None:
                    with suppress(BrokenPipeError):
                        process.stdin.write(stdin)
                        process.stdin.close()
                code = process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
        with log.open("rb") as written:
            written.seek(start)
            said = written.read().decode(errors="replace")
        if self._stopped:
            raise BuildError(f"`{argv[0]}` was stopped because the build ended")
        if code != 0:
            raise BuildError(failure(argv, code, said, str(log)))
        return said

    def chroot(self, name: str, root: Path, argv: Sequence[str]) -> str:
        """Run `argv` inside `root`, with its own /proc and its own process numbers; nothing outlives it."""
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "HOME": "/root",
        }
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--root", str(root), "--"]
        return self.run(name, [*enter, *argv], environment=environment)

    def stop(self) -> None:
        """End every running program, politely first; nothing is started afterwards."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for signal_number, patience in ((signal.SIGTERM, PATIENCE_SECONDS), (signal.SIGKILL, 5.0)):
            for process in running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal_number)
            deadline = time.monotonic() + patience
            while any(process.poll() is None for process in running) and time.monotonic() < deadline:
                time.sleep(0.05)

    def _start(
        self, argv: Sequence[str], output: int, has_stdin: bool, environment: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise BuildError(f"`{argv[0]}` was not started because the build ended")
            try:
                process = subprocess.Popen(
                    ["unshare", "--mount", "--propagation", "private", "--", *argv],
                    stdin=subprocess.PIPE if has_stdin else subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise BuildError(f"`unshare` (package util-linux) cannot be started: {error}") from error
            self._running.add(process)
            return process
