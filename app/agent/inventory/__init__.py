"""
The commission scripts: one module each, found by the script's name.

A module has `collect(probe)`, which returns the script's `result` (a dict, or None for a script whose raw output is
all there is), and raises AgentError or CommandFailed when the machine cannot be read. A new script is a new module.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from ..probe import Probe

Collect = Callable[[Probe], dict[str, Any] | None]


def known() -> list[str]:
    """The names of all scripts, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> Collect | None:
    """The script of that name; None if this agent has none."""
    if name not in known():
        return None
    collect: Collect = importlib.import_module(f".{name}", __name__).collect
    return collect
