"""What a command loads that only speaks to the API."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("sqlalchemy", "alembic", "flask", "celery", "argon2", "app.services", "app.store", "app.wiring")


def test_commands_load_no_control_plane() -> None:
    """Nothing of the database, the web server or the workers: that would take four times as long as all else."""
    argv = [sys.executable, "-c", "import sys, app.cli; print('\\n'.join(sys.modules))"]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.split()

    assert "app.cli.machine" in loaded
    assert [] == [name for name in loaded if name.startswith(HEAVY)]
