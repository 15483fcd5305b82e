"""
How commission scripts look at the machine: run a command, read a small file, list a folder, follow a link.

Everything goes through one object, so that tests can give a script captured outputs and a folder in place of the
machine, and so that what was seen is kept: the transcript is what the operator reads as the script's output.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import CommandFailed
from .runner import OUTPUT_LIMIT, Completed, run

Run = Callable[[Sequence[str], float], Completed]


class Probe:
    """`root` is / on a machine; `seconds` is how long everything together may take."""

    def __init__(self, root: Path = Path("/"), runner: Run = run, seconds: float = 60.0) -> None:
        self.root = root
        self._run = runner
        self._deadline = time.monotonic() + seconds
        self._stdout = bytearray()
        self._stderr = bytearray()

    def left(self) -> float:
        """Seconds until the deadline; at least a tenth, so that a command started late fails by its own deadline."""
        return max(0.1, self._deadline - time.monotonic())

    def try_run(self, argv: Sequence[str], raw: bool = False) -> Completed:
        """Run a command and keep what it said, with a header line unless `raw`; any exit code is fine."""
        done = self._run(argv, self.left())
        header = b"" if raw else f"$ {' '.join(argv)}\n".encode()
        self._stdout += header + done.stdout + (b"" if raw or not done.stdout or done.stdout.endswith(b"\n") else b"\n")
        self._stderr += done.stderr
        return done

    def run(self, argv: Sequence[str], raw: bool = False) -> str:
        """The output of a command that must succeed."""
        done = self.try_run(argv, raw)
        if not done.ok:
            raise CommandFailed(done.complaint(), done.exit_code, timed_out=done.exit_code is None)
        return done.text

    def note(self, text: str) -> None:
        """A remark in the transcript's error stream."""
        self._stderr += text.encode() + b"\n"

    def path(self, name: str) -> Path:
        """Where an absolute name of the machine is."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str | None:
        """A small file's text without surrounding blanks; None if it is absent or cannot be read (sysfs does both)."""
        try:
            return self.path(name).read_text("utf-8", "replace").strip()
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """The decimal number in a file; None if there is none."""
        text = self.read(name)
        try:
            return int(text) if text else None
        except ValueError:
            return None

    def names(self, folder: str) -> list[str]:
        """The sorted names in a folder; none if it is absent."""
        try:
            return sorted(os.listdir(self.path(folder)))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def target(self, name: str) -> str | None:
        """Where a link leads, as a normalised path below `root`; None if it is no link."""
        path = self.path(name)
        if not path.is_symlink():
            return None
        return os.path.normpath(os.path.join(path.parent, os.readlink(path)))

    def stdout(self) -> bytes:
        return bytes(self._stdout[:OUTPUT_LIMIT])

    def stderr(self) -> bytes:
        return bytes(self._stderr[:OUTPUT_LIMIT])
