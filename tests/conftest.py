"""How many examples hypothesis tries, how a suite ends that is asked to, and whose log a test writes.

`make test` has hypothesis try many, `make check` fewer (`--hypothesis-profile=check`).  No example has a deadline: a
busy host is no fault of what is tested.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

settings.register_profile("full", max_examples=100, deadline=None)
settings.register_profile("check", max_examples=20, deadline=None)
settings.load_profile("full")

LABS = ("tests/browser/", "tests/daemons/lifecycle_faults/", "tests/daemons/test_push_")
"""Files that share a fixture of their package which takes half a minute to come and to go."""
CLEANING_SECONDS = 20
"""Longer than a worker of xdist lives on after its controller has ended it (15 s), so that it is not killed before."""


def pytest_configure(config: pytest.Config) -> None:
    """Have SIGTERM end the suite as Ctrl-C does: fixtures take away their daemons, namespaces and directories."""
    if threading.current_thread() is not threading.main_thread():
        return
    controls = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
    if not controls:
        gc.disable()  # Until all is collected: next to nothing of it is garbage.
    if controls:
        importlib.import_module("xdist.workermanage").NodeManager.EXIT_TIMEOUT = CLEANING_SECONDS

    def interrupt(*ignored: object) -> None:
        # Once: a second signal must not interrupt the cleaning.  Not SIG_IGN, which children would inherit.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *ignored: None)
        if controls:
            for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                os.kill(int(pid), signal.SIGTERM)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, give all files of a lab to one worker: each that has one of them brings up the lab."""
    if config.getvalue("dist") != "loadfile":
        return None
    by_file = importlib.import_module("xdist.scheduler.loadfile").LoadFileScheduling
    by_lab = type(
        "ByLab", (by_file,), {"_split_scope": lambda self, nodeid: lab_of(nodeid) or nodeid.split("::", 1)[0]}
    )
    return by_lab(config, log)


def lab_of(nodeid: str) -> str | None:
    """Which of the labs a test shares with other files, by how the names of these files begin."""
    return next((lab for lab in LABS if nodeid.startswith(lab)), None)


def pytest_collection_finish() -> None:
    """Leave what stays for good, modules and tests, out of the search for garbage: it took a seventh of the time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Take away what a test set up of the process's log, so that the next one's standard error is its own."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in [one for one in root.handlers if one not in before and one.get_name()]:
        root.removeHandler(handler)
    root.setLevel(level)
    structlog.reset_defaults()
