"""What a benchmark measures, what that is compared with, and what is allowed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import bench

MACHINERY = (
    *(
        "discover_stream",
        "figure",
        "ironic",
        "ironic_install",
        "played",
        "postgres",
        "rack_site",
        "scene",
        "standing_hosts",
    ),
    "__main__",
)


@dataclass(frozen=True)
class Figure:
    """One measured number. limit: the largest value that is good; None for a number that is only shown.

    compared_with says in words what the value should be seen beside, and what that was measured to be.
    """

    name: str
    value: float
    unit: str
    compared_with: str = ""
    limit: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the value keeps its limit."""
        return self.limit is None or self.value <= self.limit


@dataclass(frozen=True)
class Bench:
    """A benchmark: `run` takes as long as it needs, cleans up after itself, and says what it saw."""

    name: str
    title: str
    run: Callable[[], list[Figure]]


def benches() -> Mapping[str, Bench]:
    """All benchmarks by name. ValueError for a module without `BENCH` or a second one of the same name."""
    found: dict[str, Bench] = {}
    for info in pkgutil.iter_modules(bench.__path__):
        if info.name in MACHINERY or info.ispkg:
            continue
        module = importlib.import_module(f"{bench.__name__}.{info.name}")
        one = getattr(module, "BENCH", None)
        if not isinstance(one, Bench):
            raise ValueError(f"{module.__name__}: has no constant BENCH")
        if one.name in found:
            raise ValueError(f"{module.__name__}: a second benchmark named {one.name!r}")
        found[one.name] = one
    return MappingProxyType(found)


def table(figures: list[Figure]) -> list[str]:
    """The figures as aligned lines: name, value, what it is compared with, limit, ok or short."""
    rows = [
        (
            figure.name,
            f"{figure.value:.4g} {figure.unit}".strip(),
            figure.compared_with,
            "" if figure.limit is None else f"<= {figure.limit:g} {figure.unit}".strip(),
            "" if figure.limit is None else "ok" if figure.ok else "short",
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
