"""Which supervisor runs the daemons of this rack: systemd, or a supervisord of the rack's own.

`auto`, which is what a rack is enrolled with, takes a supervisord that answers on the rack's socket, else the systemd
that booted the host, else waits for a supervisord.  So a laboratory or an unprivileged rack starts a supervisord, and a
rack host needs nothing.
"""

from __future__ import annotations

import socket
from pathlib import Path

from workers.rack.config import RackConfig
from workers.rack.systemd import RUNNING, SystemdUnits
from workers.rack.units import SupervisorUnits, Units


def choose_units(config: RackConfig, booted: Path = RUNNING) -> Units:
    """The supervisor that the rack's configuration names, or the one that is here.  `booted` exists under systemd."""
    kind = config.supervisor
    if kind == "auto":
        kind = "systemd" if booted.is_dir() and not _answers(config.supervisor_path) else "supervisord"
    if kind == "systemd":
        return SystemdUnits(config.root)
    return SupervisorUnits(config.root, config.supervisor_path)


def _answers(path: Path) -> bool:
    """Whether somebody listens; one that was killed leaves its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.settimeout(5)
        try:
            made.connect(str(path))
        except OSError:
            return False
    return True
