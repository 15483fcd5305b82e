"""Has a daemon's own checker judge a configuration that this rack does not run: for people who write snippets.

The control plane asks for it where it has no such daemon itself.  It sends one file, from which it has taken what is only on
a rack (interfaces, sockets, secrets, included files); the checker that is asked of every offer reads it.  Nothing of the
rack's own is touched: the file lies in a directory of its own, which goes afterwards.  The checker has no network where this
host lets us take it away, limits of memory and file size, and a deadline.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from renderers.spec import ServiceSpec
from workers.rack.files import ServiceDirectories, substitute
from workers.rack.questions import CannotAnswer

SECONDS = 15.0
LONGEST_WORDS = 16_000
FILE = "the-configuration"
"""How the file is called in what the checker says, so that both sides mean the same."""
_LIMITS = ("prlimit", "--cpu=15", "--as=2147483648", "--fsize=16777216", "--nofile=128", "--core=0")
_ALONE = ("unshare", "--net", "--")


class ConfigChecker:
    """Answers `check`.  specs: the services that this rack knows."""

    def __init__(self, specs: Mapping[str, ServiceSpec]) -> None:
        self._specs = specs

    def __call__(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Check `text` as the `file` of a `service`: whether it is good, what the checker says, and who it is."""
        spec = self._specs.get(str(body.get("service")))
        file = str(body.get("file"))
        if spec is None or spec.checker is None or Path(file).name != file or file in ("", ".", ".."):
            raise CannotAnswer(f"this rack's software knows no checker for {body.get('service')!r}; update it")
        program = next(word for word in spec.checker if word != "env" and "=" not in word)
        if shutil.which(program) is None:
            raise CannotAnswer(f"{program} is not on this host")
        with tempfile.TemporaryDirectory(prefix="muster-check-") as folder:
            directories = ServiceDirectories(Path(folder), spec.name)
            staged = Path(folder, "staged")
            for path in (staged, directories.state, directories.run):
                path.mkdir(parents=True)
            path = staged / file
            path.write_text(str(body.get("text", "")))
            words = directories.words(staged)
            environment = {name: substitute(value, words) for name, value in spec.environment}
            argv = [*_alone(), *_LIMITS, *(substitute(item, words) for item in spec.checker)]
            code, said = _run(argv, {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **environment}, folder)
        return {"ok": code == 0, "said": said.replace(str(path), FILE)[-LONGEST_WORDS:], "program": program}


def _run(argv: list[str], environment: dict[str, str], folder: str) -> tuple[int, str]:
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
    except subprocess.TimeoutExpired as error:
        raise CannotAnswer(f"the checker did not end within {SECONDS:g} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return process.returncode, output.decode(errors="replace")


@cache
def _alone() -> tuple[str, ...]:
    """The words that start a program without a network, none where this host does not let us."""
    try:
        done = subprocess.run([*_ALONE, "true"], capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _ALONE if done.returncode == 0 else ()
