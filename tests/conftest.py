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

import pytest
import structlog
from hypothesis import settings

settings.register_profile("full", max_examples=100, deadline=None)
settings.register_profile("check", max_examples=20, deadline=None)
settings.load_profile("full")

CLEANING_SECONDS = 20
"""Longer than a worker of xdist lives on after its controller has ended it (15 s), so that it is not killed before."""


def pytest_configure(config: pytest.Config) -> None:
    """Have SIGTERM end the suite as Ctrl-C does: fixtures take away their daemons, namespaces and directories."""
    if threading.current_thread() is not threading.main_thread():
        return
    controls = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
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


def pytest_collection_finish() -> None:
    """Leave what stays for good, modules and tests, out of the search for garbage: it took a seventh of the time."""
    gc.collect()
    gc.freeze()


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
