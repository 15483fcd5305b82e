"""Run one command that ends when the lab ends, even when the lab was killed: `python -m lab.tether COMMAND...`.

The lab holds the other end of this process's standard input and never writes to it. End of file means the lab is
gone, in whatever way, so the command is asked to end (SIGTERM), and its whole session is killed if it has not within
twenty seconds. The command runs in a session of its own: Ctrl-C at the lab's terminal does not reach it, so the lab
tears down in order. SIGTERM to the tether does the same as end of file. The tether's exit status is the command's.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from lab.process import die_with_parent

PATIENCE_SECONDS = 20.0
"""Longer than supervisord waits (stopwaitsecs, 10 s) before it kills a program that ignored SIGTERM."""
REPOSITORY = Path(__file__).resolve().parent.parent


def start(
    argv: list[str], *, prefix: list[str], log: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start argv under a tether; `prefix` (for example `ip netns exec NAME`) runs the tether itself in another place.

    Closing the returned process's stdin, or losing this process, ends the command.
    """
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "lab.tether", *argv],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=python_environment(environment),
    )


def stop(process: subprocess.Popen[bytes], patience: float = PATIENCE_SECONDS + 5) -> int:
    """Let go of a tethered process and wait until it has ended; return its exit status."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def python_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which a new Python finds this checkout from any working directory."""
    path = os.pathsep.join(part for part in (str(REPOSITORY), os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, **(extra or {}), "PYTHONPATH": path}


async def hold(argv: list[str]) -> int:
    """Run argv until it ends by itself or standard input does; return its exit status."""
    loop = asyncio.get_running_loop()
    let_go = asyncio.Event()
    loop.add_reader(0, let_go.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, let_go.set)
    child = await asyncio.create_subprocess_exec(
        *die_with_parent(argv, "TERM"), stdin=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    ended = asyncio.ensure_future(child.wait())
    asked = asyncio.ensure_future(let_go.wait())
    await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
    loop.remove_reader(0)
    if not ended.done():
        child.terminate()
        await asyncio.wait([ended], timeout=PATIENCE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return await ended


if __name__ == "__main__":
    sys.exit(asyncio.run(hold(sys.argv[1:])))
