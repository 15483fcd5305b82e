"""Every rendered service, found by scanning: a module of `renderers/services/` with a constant `SERVICE` is one.

The scan happens when it is asked for, never at import time.  A duplicate name stops the start.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

import renderers.services
from renderers.bundle import Bundle
from renderers.intent import RackIntent
from renderers.spec import ServiceSpec


def services() -> tuple[ServiceSpec, ...]:
    """Return all services, sorted by name. ValueError names a module without a SERVICE and a name used twice."""
    names = sorted(info.name for info in pkgutil.iter_modules(renderers.services.__path__))
    found = []
    for name in names:
        spec = getattr(importlib.import_module(f"renderers.services.{name}"), "SERVICE", None)
        if not isinstance(spec, ServiceSpec):
            raise ValueError(f"renderers/services/{name}.py: has no constant SERVICE of type ServiceSpec; add one")
        found.append(spec)
    return unique(found)


def unique(specs: Iterable[ServiceSpec]) -> tuple[ServiceSpec, ...]:
    """Return the services sorted by name. ValueError if two have the same name."""
    found: dict[str, ServiceSpec] = {}
    for spec in specs:
        if spec.name in found:
            raise ValueError(f"service {spec.name}: two modules of renderers/services/ use this name; rename one")
        found[spec.name] = spec
    return tuple(found[name] for name in sorted(found))


def service(name: str) -> ServiceSpec:
    """Return one service by name. KeyError lists the known names."""
    known = {spec.name: spec for spec in services()}
    if name not in known:
        raise KeyError(f"service {name!r}: unknown; known are {', '.join(known)}")
    return known[name]


def render(intent: RackIntent) -> tuple[Bundle, ...]:
    """Render every service that the intent asks for, sorted by service name."""
    return tuple(spec.render(intent) for spec in services() if spec.wanted(intent))
