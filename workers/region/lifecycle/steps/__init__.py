"""One module for each kind of step, with the constant `STEP`; found by scanning."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from workers.region.lifecycle.result import StepKind


@cache
def kinds() -> Mapping[str, StepKind]:
    """All kinds of step by name. ValueError on a duplicate name or a module without `STEP`."""
    found: dict[str, StepKind] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        kind = getattr(module, "STEP", None)
        if not isinstance(kind, StepKind):
            raise ValueError(f"{module.__name__}: has no constant STEP")
        if kind.name in found:
            raise ValueError(f"{module.__name__}: a second kind of step named {kind.name!r}")
        found[kind.name] = kind
    return MappingProxyType(found)
