"""A rack host has no Flask and no database, and never needs them."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FORBIDDEN = ("flask", "sqlalchemy", "alembic", "psycopg2", "app.store", "app.services", "app.api", "workers.region")


def test_the_rack_imports_nothing_of_the_control_plane() -> None:
    """Every module of workers.rack and app.power loads, and none of what only a control plane has comes with it."""
    program = f"""
import importlib, pkgutil, sys
import app.power, workers.rack
for package in (workers.rack, app.power):
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
import workers.rack.__main__
bad = sorted(name for name in sys.modules if name.split(".")[0] in {FORBIDDEN!r} or name.startswith({FORBIDDEN!r}))
print(len([name for name in sys.modules if name.startswith("workers.rack")]), bad)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    count, _, bad = done.stdout.strip().partition(" ")

    assert (bad, done.returncode) == ("[]", 0), done.stderr
    assert int(count) > 30
