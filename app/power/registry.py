"""Finds every power driver: a module in `app/power/drivers/` with the constant `DRIVER`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import app.power.drivers
from app.power.base import PowerDriver


@cache
def drivers() -> dict[str, PowerDriver]:
    """All drivers by name, sorted.  RuntimeError names a module without DRIVER and two modules of one name."""
    found: dict[str, PowerDriver] = {}
    for module_info in sorted(pkgutil.iter_modules(app.power.drivers.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{app.power.drivers.__name__}.{module_info.name}")
        driver = getattr(module, "DRIVER", None)
        if not isinstance(driver, PowerDriver):
            raise RuntimeError(
                f"{module.__name__}: no constant DRIVER that is a PowerDriver; define one or move the module"
            )
        if driver.name in found:
            raise RuntimeError(f"{module.__name__}: a power driver named {driver.name!r} exists already; rename one")
        found[driver.name] = driver
    return found


def driver(name: str) -> PowerDriver:
    """The driver of that name.  KeyError lists the names there are."""
    try:
        return drivers()[name]
    except KeyError:
        raise KeyError(f"power driver {name!r} does not exist; there are {', '.join(drivers())}") from None
