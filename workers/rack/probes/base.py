"""What a probe promises, and how probes are found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

import workers.rack.probes
from renderers.spec import ProbeSpec


class ProbeFailure(Exception):
    """The service did not answer as it should; the text is for people."""


def _no_secret(name: str) -> str:
    raise KeyError(name)


@dataclass(frozen=True)
class ProbeContext:
    """What a probe may know besides its parameters: this rack's own MAC for questions (one, always the same), its secrets."""

    client_mac: str
    secret: Callable[[str], str] = _no_secret


@dataclass(frozen=True)
class ProbeResult:
    """What one probe found."""

    spec: ProbeSpec
    ok: bool
    detail: str

    def as_data(self) -> dict[str, object]:
        """The JSON form of reports."""
        return {"kind": self.spec.kind, "ok": self.ok, "detail": self.detail}


@runtime_checkable
class Probe(Protocol):
    """One kind of question."""

    @property
    def kind(self) -> str:
        """The word services name it by."""

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """Ask once, within seconds; what was answered, for people.  ProbeFailure says what was wrong."""


@cache
def probes() -> dict[str, Probe]:
    """All probes by kind.  RuntimeError names a module whose PROBE is missing or whose kind is taken."""
    found: dict[str, Probe] = {}
    for info in sorted(pkgutil.iter_modules(workers.rack.probes.__path__), key=lambda info: info.name):
        if info.name == "base":
            continue
        probe = getattr(importlib.import_module(f"workers.rack.probes.{info.name}"), "PROBE", None)
        if probe is None:
            raise RuntimeError(f"workers/rack/probes/{info.name}.py: needs a constant PROBE")
        if not isinstance(probe, Probe) or probe.kind in found:
            raise RuntimeError(f"workers/rack/probes/{info.name}.py: PROBE is no probe or its kind is taken")
        found[probe.kind] = probe
    return found


def ask(spec: ProbeSpec, context: ProbeContext) -> ProbeResult:
    """Ask, and never raise: whatever goes wrong is an answer too."""
    probe = probes().get(spec.kind)
    if probe is None:
        return ProbeResult(spec, False, f"this rack has no probe {spec.kind!r}: update the rack's software")
    try:
        return ProbeResult(spec, True, probe.ask(spec, context))
    except ProbeFailure as failure:
        return ProbeResult(spec, False, str(failure))
    except (OSError, KeyError, ValueError) as error:
        return ProbeResult(spec, False, f"{spec.kind}: {type(error).__name__}: {error}")


def text(spec: ProbeSpec, name: str) -> str:
    """A parameter as text."""
    return str(spec.parameter(name))


def number(spec: ProbeSpec, name: str) -> int:
    """A parameter as a number."""
    return int(spec.parameter(name))
